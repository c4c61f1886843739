"""Runs a page of the documentation: what it shows is what happens.

Blocks of `sh` run in one shell, so that a variable of one is there in the next. The `text` or `json` block right after
one is what it prints: `text` as it is, `…` standing for anything; `json` names the members that count, `"…"` standing
for any value. A block of `js` or `ts` that begins with `// name` is written to that file; any other is a function,
which is deployed, and `$FUNCTION` is its id from there on, or the id of one that a command created.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

from tests.support.kapso import Kapso

_FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"// (\S+)\n")
_ANY = "…"
_TIMEOUT_S = 60.0
_MARK = "-- end of block --"


class Block(Struct, frozen=True, kw_only=True):
    """`line` is where its text begins in the page; `follows` that nothing but blank lines is before it."""

    language: str
    text: str
    line: int
    follows: bool


def blocks(page: str) -> Iterator[Block]:
    end = 0
    for found in _FENCE.finditer(page):
        line = page.count("\n", 0, found.start(2)) + 1
        yield Block(language=found[1], text=found[2], line=line, follows=not page[end : found.start()].strip())
        end = found.end()


class Shell:
    """One bash in `folder`, which ends at the first command that fails."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self._errors = (folder / "errors").open("w+")
        self._process = subprocess.Popen(
            ["bash", "-euo", "pipefail"],
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def run(self, commands: str, where: str) -> str:
        """What they print. Fails with what they complain of."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{commands}\necho '{_MARK}'\n")
        process.stdin.flush()
        printed = ""
        while not printed.endswith(_MARK + "\n"):
            line = process.stdout.readline()
            if not line:
                self._errors.seek(0)
                raise AssertionError(f"{where}: failed after {printed!r}: {self._errors.read()}")
            printed += line
        return printed.removesuffix(_MARK + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def run(page: Path, kapso: Kapso, folder: Path, variables: Mapping[str, str]) -> int:
    """How many commands were run. Fails naming the page and the line."""
    count, rest = 0, list(blocks(page.read_text()))
    with Shell(folder, {"FUNCTION": "", **variables}) as shell:
        for block, after in zip(rest, [*rest[1:], None], strict=False):
            where = f"{page.name}:{block.line}"
            if block.language in ("js", "ts"):
                _provide(block, kapso, shell, folder, where)
            elif block.language == "sh":
                shown = after if after is not None and after.follows and after.language in ("text", "json") else None
                if (created := _created(_commands(block, shown, shell, where))) is not None:
                    shell.run(f"FUNCTION={created}", where)
                count += 1
    return count


def _provide(block: Block, kapso: Kapso, shell: Shell, folder: Path, where: str) -> None:
    if named := _FILE.match(block.text):
        (folder / named[1]).write_text(block.text)
    else:
        shell.run(f"FUNCTION={kapso.deployed(block.text, name=where)}", where)


def _commands(block: Block, shown: Block | None, shell: Shell, where: str) -> str:
    output = shell.run(block.text, where)
    if shown is None:
        return output
    # One command that only looks may be repeated until it sees what it shows: a deploy goes on in the background.
    looks_only = block.text.startswith("curl ") and not re.search(r" -X | -d |--data|\n\S", block.text.strip())
    deadline = time.monotonic() + (_TIMEOUT_S if looks_only else 0)
    while (difference := _difference(shown, output)) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
        output = shell.run(block.text, where)
    assert difference is None, f"{where}: {difference}\nthe reply was: {output}"
    return output


def _difference(shown: Block, output: str) -> str | None:
    """What the output lacks of what the page shows."""
    if shown.language == "text":
        pattern = ".*".join(re.escape(part) for part in shown.text.strip().split(_ANY))
        return None if re.fullmatch(pattern, output.strip()) else f"{output!r} is not {shown.text!r}"
    try:
        return _lacks(json.loads(shown.text), json.loads(output), "")
    except ValueError:
        return f"{output!r} is no JSON"


def _lacks(wanted: Any, found: Any, path: str) -> str | None:
    if wanted == _ANY:
        return None
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name, value in wanted.items():
            if name not in found:
                return f"{path}.{name} is missing"
            if (inner := _lacks(value, found[name], f"{path}.{name}")) is not None:
                return inner
        return None
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        inner = (_lacks(one, other, f"{path}[{n}]") for n, (one, other) in enumerate(zip(wanted, found, strict=True)))
        return next((difference for difference in inner if difference is not None), None)
    return None if wanted == found else f"{path} is {found!r}, not {wanted!r}"


def _created(output: str) -> str | None:
    """The id of a function that a command created."""
    try:
        data = json.loads(output)["data"]
        return str(data["id"]) if data["status"] == "draft" else None
    except (ValueError, KeyError, TypeError):
        return None

"""Runs a page of the documentation: what it shows is what happens.

A `js` or `ts` block is a function, which is deployed; `$FUNCTION` is its id from there on, or the id of one that a
command created. A `sh` block that begins with `curl` is run with `$URL`, `$KEY` and `$FUNCTION`; the `text` or `json`
block right after it is its output. A `text` block is compared as it is. A `json` block names the members that count;
`"…"` stands for any value. Other blocks are not run.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.kapso import Kapso

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ANY = "…"
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
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


def run(page: Path, kapso: Kapso, url: str, key: str) -> int:
    """How many outputs were compared. Fails naming the page and the line."""
    environment = {"PATH": os.environ["PATH"], "URL": url, "KEY": key, "FUNCTION": ""}
    compared, rest = 0, list(blocks(page.read_text()))
    for block, after in zip(rest, [*rest[1:], None], strict=True):
        where = f"{page.name}:{block.line}"
        if block.language in ("js", "ts"):
            environment["FUNCTION"] = kapso.deployed(block.text, name=where)
        elif block.language == "sh" and block.text.startswith("curl "):
            shown = after if after is not None and after.follows and after.language in ("text", "json") else None
            output = _curl(block, shown, environment, where)
            environment["FUNCTION"] = _created(output) or environment["FUNCTION"]
            compared += shown is not None
    return compared


def _curl(block: Block, shown: Block | None, environment: dict[str, str], where: str) -> str:
    def once() -> str:
        done = subprocess.run(
            ["bash", "-euc", block.text], env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, f"{where}: {done.stderr}"
        return done.stdout

    output = once()
    if shown is None:
        return output
    # What only looks may be repeated until it sees what it shows: a deploy goes on in the background.
    looks_only = " -X " not in block.text and " -d " not in block.text
    deadline = time.monotonic() + (_TIMEOUT_S if looks_only else 0)
    while (difference := _difference(shown, output)) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
        output = once()
    assert difference is None, f"{where}: {difference}\nthe reply was: {output}"
    return output


def _difference(shown: Block, output: str) -> str | None:
    """What the output lacks of what the page shows."""
    if shown.language == "text":
        return None if output.strip() == shown.text.strip() else f"{output!r} is not {shown.text!r}"
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

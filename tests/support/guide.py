"""Runs the examples of a page of the documentation, in the order in which they stand there.

A block of `js` or `ts` that begins with `// name` is written to that file. Blocks of `sh` run in one shell, so that a
variable of one is there in the next. A block of `text` after one of `sh` is what that prints; `…` stands for anything.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```(?P<kind>[a-z]+)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"// (\S+)\n")
_MARK = "-- end of block --"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A block of `sh`, and what the page says that it prints; None when it says nothing."""

    command: str
    printed: str | None


def check_page(page: Path, folder: Path, variables: Mapping[str, str]) -> int:
    """Run every example in `folder`; how many steps were checked. Fails where the page is wrong."""
    text = page.read_text()
    for name, source in _files(text):
        (folder / name).write_text(source)
    steps = list(_steps(text))
    script = "set -euo pipefail\n" + "".join(f"{step.command}\necho '{_MARK}'\n" for step in steps)
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=dict(variables), capture_output=True, text=True, timeout=60, check=False
    )
    printed = done.stdout.split(_MARK + "\n")
    assert len(printed) == len(steps) + 1, f"{page.name}: failed after {printed[-2:]}: {done.stderr}"
    for step, seen in zip(steps, printed, strict=False):
        if step.printed is not None:
            pattern = ".*".join(re.escape(part) for part in step.printed.split("…"))
            assert re.fullmatch(pattern, seen), f"{page.name} says {step.printed!r}, it is {seen!r}, of {step.command}"
    return len(steps)


def _files(text: str) -> Iterator[tuple[str, str]]:
    for block in _BLOCK.finditer(text):
        named = _FILE.match(block["text"])
        if block["kind"] in ("js", "ts") and named:
            yield named[1], block["text"]


def _steps(text: str) -> Iterator[Step]:
    blocks = [(block["kind"], block["text"]) for block in _BLOCK.finditer(text)]
    for at, (kind, content) in enumerate(blocks):
        if kind == "sh":
            following = blocks[at + 1] if at + 1 < len(blocks) else ("", "")
            yield Step(command=content, printed=following[1] if following[0] == "text" else None)

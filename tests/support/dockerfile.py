"""Reads a Dockerfile: its stages, the steps of each, and which files of a context its copies take."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct, field


class Step(Struct, frozen=True, kw_only=True):
    """`words` are those of the JSON form, else of the text; `text` is without the instruction's name and its flags."""

    line: int
    instruction: str
    flags: dict[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        if self.text.startswith("["):
            return list(json.loads(self.text))
        return shlex.split(self.text)


class Stage(Struct, kw_only=True):
    image: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def of(self, instruction: str) -> list[Step]:
        return [step for step in self.steps if step.instruction == instruction]

    def last(self, instruction: str) -> Step:
        return self.of(instruction)[-1]

    @property
    def environment(self) -> dict[str, str]:
        return dict(word.split("=", 1) for step in self.of("ENV") for word in step.words)


def steps(text: str) -> Iterator[Step]:
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        first = number + 1
        whole = lines[number]
        while whole.endswith("\\"):
            number += 1
            whole = whole[:-1] + lines[number]
        number += 1
        if not whole.strip() or whole.startswith("#"):
            continue
        instruction, _, rest = whole.strip().partition(" ")
        flags = {}
        while found := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
            flags[found[1]] = found[2]
            rest = rest[found.end() :]
        yield Step(line=first, instruction=instruction, flags=flags, text=rest.strip())


def stages(file: Path) -> list[Stage]:
    found: list[Stage] = []
    for step in steps(file.read_text()):
        if step.instruction == "FROM":
            image, *named = step.words
            found.append(Stage(image=image, name=named[1] if named else str(len(found))))
        else:
            found[-1].steps.append(step)
    return found


def context(root: Path) -> set[str]:
    """The files that git has, or would take, and .dockerignore lets through."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60).stdout
    rules = [line for line in (root / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    return {name for name in listed.splitlines() if (root / name).is_file() and not _ignored(name, rules)}


def _ignored(name: str, rules: list[str]) -> bool:
    ignored = False
    parts = name.split("/")
    ways = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    for rule in rules:
        pattern = rule.removeprefix("!")
        names = [part for way in ways for part in [way, way.rpartition("/")[2]]] if pattern.startswith("**/") else ways
        if any(fnmatch.fnmatchcase(way, pattern.removeprefix("**/")) for way in names):
            ignored = not rule.startswith("!")
    return ignored


def copied(step: Step, files: set[str]) -> dict[str, str]:
    """What a COPY takes of the files, each with the place that it gets, below the working directory or absolute."""
    *sources, target = step.words
    places = {}
    for source in sources:
        inside = {name for name in files if name.startswith(source + "/")}
        if source in files:
            places[source] = target.rstrip("/") + "/" + Path(source).name if target.endswith("/") else target
        elif inside:
            places.update({name: f"{target.rstrip('/')}/{name.removeprefix(source + '/')}" for name in inside})
        else:
            raise AssertionError(f"line {step.line}: nothing in the context is called {source}")
    return places

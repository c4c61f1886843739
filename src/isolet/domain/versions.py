"""An immutable deployed build of a function, and a deploy that is under way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from isolet.domain.compatibility import Compatibility
from isolet.domain.limits import Limits
from isolet.domain.sources import Sources
from isolet.ids import DeploymentId, FunctionId, ProjectId

_LINE_ENDS = ("\n", "\r", "\u2028", "\u2029")
_LINE_END = re.compile("[\n\r\u2028\u2029]")
_STEP_CHARS = 65_536


class Language(StrEnum):
    JAVASCRIPT = "javascript"
    TYPESCRIPT = "typescript"


class ModuleKind(StrEnum):
    """What an import of it gives: a `WebAssembly.Module`, or an `ArrayBuffer`."""

    WASM = "wasm"
    DATA = "data"


class Module(Struct, frozen=True, kw_only=True):
    """A module beside the bundle, which imports it by its name."""

    kind: ModuleKind
    body: bytes


class Version(Struct, frozen=True, kw_only=True):
    """`bundle` is the ES module that an instance loads; `number` grows by one with each good deploy.

    `files` are the sources as JSON where they are more than one text; the bundle imports `modules`.
    """

    function_id: FunctionId
    number: int
    code: str
    bundle: str
    language: Language
    limits: Limits
    created_at_ms: int
    files: dict[str, Any] | None = None
    modules: Mapping[str, Module] = field(default_factory=dict)
    compatibility: Compatibility = field(default_factory=Compatibility)

    @property
    def sources(self) -> Sources:
        if self.files is not None:
            return Sources.from_json(self.files)
        return Sources.of_code(self.code, f"index.{'ts' if self.language is Language.TYPESCRIPT else 'js'}")


class VersionSummary(Struct, frozen=True, kw_only=True):
    """What lists show of a version."""

    number: int
    language: Language
    created_at_ms: int


class Deployment(Struct, frozen=True, kw_only=True):
    """An accepted deploy that has not ended. The code as it was when the deploy was asked for stays in the store."""

    id: DeploymentId
    function_id: FunctionId
    project_id: ProjectId


def line_at(code: str, number: int) -> tuple[int, str]:
    """A line of source text by its number from 1, or the last one, with its number. Lines end as JavaScript ends them.

    An end after the last begins no other. In steps that are short: code may have a million lines.
    """
    code = code.replace("\r\n", "\n")
    if code.endswith(_LINE_ENDS):
        code = code[:-1]
    line, begins = 1, 0
    for at in range(0, len(code), _STEP_CHARS):
        step = code[at : at + _STEP_CHARS]
        ends = sum(map(step.count, _LINE_ENDS))
        if line + ends < number:
            line += ends
            begins = max(begins, at + 1 + max(map(step.rfind, _LINE_ENDS)))
            continue
        for found in _LINE_END.finditer(step):
            if line == number:
                return line, code[begins : at + found.start()]
            line, begins = line + 1, at + found.end()
    return line, code[begins:]


def place_at(code: str, offset: int) -> tuple[int, int]:
    """The line and the column of a character, both from 1."""
    before = code[:offset].replace("\r\n", "\n")
    line = 1 + sum(map(before.count, _LINE_ENDS))
    return line, len(before) - max(map(before.rfind, _LINE_ENDS))

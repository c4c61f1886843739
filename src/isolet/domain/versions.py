"""An immutable deployed build of a function, and a deploy that is under way."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from isolet.domain.limits import Limits
from isolet.ids import DeploymentId, FunctionId, ProjectId

_LINE_END = re.compile("\r\n|[\n\r\u2028\u2029]")


class Language(StrEnum):
    JAVASCRIPT = "javascript"
    TYPESCRIPT = "typescript"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """`bundle` is the ES module that an instance loads; `number` grows by one with each good deploy."""

    function_id: FunctionId
    number: int
    code: str
    bundle: str
    language: Language
    limits: Limits
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSummary:
    """What lists show of a version."""

    number: int
    language: Language
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """An accepted deploy that has not ended. The code as it was when the deploy was asked for stays in the store."""

    id: DeploymentId
    function_id: FunctionId
    project_id: ProjectId


def lines_of(code: str) -> list[str]:
    """The lines of source text as JavaScript ends them, at least one; an end after the last begins no other."""
    lines = _LINE_END.split(code)
    return lines[:-1] if len(lines) > 1 and not lines[-1] else lines

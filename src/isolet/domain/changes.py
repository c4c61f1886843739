"""What changed of functions, projects and keys, here or on another server of the same database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from isolet.domain.access import Key
from isolet.domain.functions import Function
from isolet.domain.projects import Project
from isolet.ids import FunctionId, KeyId, ProjectId


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionChanged:
    """It was made, or is another one than before. Its code is not always read."""

    function: Function


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionDeployed(FunctionChanged):
    """Another version is live."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionDeleted:
    function_id: FunctionId
    project_id: ProjectId


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectChanged:
    """It was made, or is another one than before."""

    project: Project


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectDeleted:
    """With all that it held. Of functions that went with it there may be no change of their own."""

    project: Project


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCreated:
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDeleted:
    key_id: KeyId


Change: TypeAlias = FunctionChanged | FunctionDeleted | ProjectChanged | ProjectDeleted | KeyCreated | KeyDeleted

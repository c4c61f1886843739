"""What changed of functions, projects and keys, here or on another server of the same database."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from isolet.domain.access import Key
from isolet.domain.functions import Function
from isolet.domain.projects import Project
from isolet.ids import FunctionId, KeyId, ProjectId


class FunctionChanged(Struct, frozen=True, kw_only=True):
    """It was made, or is another one than before. Its code is not always read."""

    function: Function


class FunctionDeployed(FunctionChanged, frozen=True, kw_only=True):
    """Another version is live."""


class FunctionDeleted(Struct, frozen=True, kw_only=True):
    function_id: FunctionId
    project_id: ProjectId


class ProjectChanged(Struct, frozen=True, kw_only=True):
    """It was made, or is another one than before."""

    project: Project


class ProjectDeleted(Struct, frozen=True, kw_only=True):
    """With all that it held. Of functions that went with it there may be no change of their own."""

    project: Project


class KeyCreated(Struct, frozen=True, kw_only=True):
    key: Key


class KeyDeleted(Struct, frozen=True, kw_only=True):
    key_id: KeyId


Change: TypeAlias = FunctionChanged | FunctionDeleted | ProjectChanged | ProjectDeleted | KeyCreated | KeyDeleted

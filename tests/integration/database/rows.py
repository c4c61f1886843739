"""Makes values to store, each complete and different from the others."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from isolet.domain.access import Key, Role, digest
from isolet.domain.cron import read_cron
from isolet.domain.functions import Function
from isolet.domain.invocations import Door, Invocation
from isolet.domain.limits import Limits
from isolet.domain.projects import Project
from isolet.domain.schedules import Firing, FiringStatus, Schedule, started
from isolet.domain.versions import Deployment, Language, Version
from isolet.ids import DeploymentId, FunctionId, InvocationId, JobId, KeyId, ProjectId, ScheduleId, new_id

AT_MS = 1_769_860_800_123


def a_project(slug: str = "shop", **values: Any) -> Project:
    return Project(**{"id": ProjectId(new_id()), "slug": slug, "name": slug, "created_at_ms": AT_MS, **values})


def a_key(project: Project, text: str = "isk_text", **values: Any) -> Key:
    known = {"id": KeyId(new_id()), "project_id": project.id, "name": "ci", "role": Role.DEPLOY}
    return Key(**{**known, "digest": digest(text), "created_at_ms": AT_MS, **values})


def a_function(project: Project, slug: str = "hello", **values: Any) -> Function:
    known = {"id": FunctionId(new_id()), "project_id": project.id, "name": slug, "slug": slug, "code": "handler"}
    return Function(**{**known, "created_at_ms": AT_MS, "updated_at_ms": AT_MS, **values})


def a_version(function: Function, number: int = 1, **values: Any) -> Version:
    known = {"function_id": function.id, "number": number, "code": "source", "bundle": "module"}
    known |= {"language": Language.JAVASCRIPT, "limits": Limits(), "created_at_ms": AT_MS}
    return Version(**{**known, **values})


def a_deployment(function: Function, **values: Any) -> Deployment:
    known = {"id": DeploymentId(new_id()), "function_id": function.id, "project_id": function.project_id}
    return Deployment(**{**known, **values})


def an_invocation(function: Function, **values: Any) -> Invocation:
    known = {"id": InvocationId(new_id()), "project_id": function.project_id, "function_id": function.id}
    known |= {"function_name": function.name, "version": 1, "door": Door.KAPSO, "method": "POST", "path": "/invoke"}
    return Invocation(**{**known, "started_at_ms": AT_MS, "status": 200, **values})


def a_schedule(function: Function, **values: Any) -> Schedule:
    known: dict[str, Any] = {"id": ScheduleId(new_id()), "project_id": function.project_id, "function_id": function.id}
    known |= {"name": "often", "cron": read_cron("* * * * *"), "seen_ms": AT_MS}
    made = Schedule(**{**known, "created_at_ms": AT_MS, "updated_at_ms": AT_MS, **values})
    return started(made, AT_MS)


def a_firing(schedule: Schedule, place: int = 0, status: FiringStatus = FiringStatus.SUCCEEDED) -> Firing:
    at_ms = AT_MS + place
    known: dict[str, Any] = {"id": JobId(new_id()), "schedule_id": schedule.id, "due_ms": at_ms, "fired_at_ms": at_ms}
    return Firing(**{**known, "status": status, "counted": True})


def without_code(function: Function) -> Function:
    """As it is read where nobody asks for the code."""
    return replace(function, code=None)

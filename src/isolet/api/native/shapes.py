"""Projects, keys, functions and versions as the contract has them."""

from __future__ import annotations

from typing import Any

from isolet.clock import iso
from isolet.contract.functions import (
    DeployErrorReply,
    FunctionOverviewReply,
    FunctionReply,
    FunctionUpdate,
    GlanceReply,
    RetryReply,
    ToolSettingsReply,
    VersionDetailReply,
    VersionReply,
)
from isolet.contract.keys import KeyReply, NewKeyReply
from isolet.contract.projects import ProjectReply
from isolet.domain.access import Key
from isolet.domain.agents import tool_of
from isolet.domain.functions import DeployError, Function, triggers_of
from isolet.domain.metrics import Glance
from isolet.domain.project_limits import ProjectLimits
from isolet.domain.projects import Project
from isolet.domain.triggers import socket_event
from isolet.domain.versions import Version, VersionSummary

_LIMITS = ("timeout_ms", "cpu_ms", "memory_limit_mb", "concurrency", "max_instances")


def changes_of(body: FunctionUpdate) -> dict[str, Any]:
    """What an update changes, with the limits in a member of their own."""
    sent = body.model_dump(exclude_unset=True)
    limits = {name: sent.pop(name) for name in _LIMITS if name in sent}
    return {**sent, "limits": limits} if limits else sent


def project_reply(project: Project, limits: ProjectLimits) -> ProjectReply:
    """`limits` are those that hold: the project's own and, for the rest, the server's."""
    return ProjectReply(
        id=project.id,
        slug=project.slug,
        name=project.name,
        plan=project.plan.value,
        allowed_origins=list(project.allowed_origins),
        limits=limits.to_json(),
        egress_allow=None if project.egress_allow is None else list(project.egress_allow),
        created_at=iso(project.created_at_ms),
    )


def key_reply(key: Key) -> KeyReply:
    return KeyReply(
        id=key.id,
        name=key.name,
        role=key.role.value,
        created_at=iso(key.created_at_ms),
        expires_at=None if key.expires_at_ms is None else iso(key.expires_at_ms),
        last_used_at=None if key.last_used_at_ms is None else iso(key.last_used_at_ms),
    )


def new_key_reply(key: Key, text: str) -> NewKeyReply:
    return NewKeyReply(**key_reply(key).to_json(), key=text)


def function_reply(function: Function, project_slug: str) -> FunctionReply:
    return FunctionReply(
        id=function.id,
        project=project_slug,
        name=function.name,
        slug=function.slug,
        description=function.description,
        status=function.status.value,
        version=function.version,
        public_endpoint=function.public_endpoint,
        access=function.access.value,
        cors=function.cors.value,
        hosts=function.hosts or [],
        bindings=function.bindings or {},
        socket_event=socket_event(function.triggers or ()),
        compatibility_date=function.compatibility.date,
        compatibility_flags=list(function.compatibility.flags),
        deploy_error=None if function.deploy_error is None else _deploy_error_reply(function.deploy_error),
        **function.limits.to_json(),
        retry=RetryReply(**function.retry.to_json()),
        tool=None if (tool := tool_of(function.agent)) is None else ToolSettingsReply(**tool),
        lock_version=function.lock_version,
        created_at=iso(function.created_at_ms),
        updated_at=iso(function.updated_at_ms),
        last_deployed_at=None if function.last_deployed_at_ms is None else iso(function.last_deployed_at_ms),
    )


def function_overview_reply(
    function: Function, project_slug: str, glance: Glance, *, schedules: int
) -> FunctionOverviewReply:
    total = sum(glance.calls)
    return FunctionOverviewReply(
        **function_reply(function, project_slug).to_json(),
        triggers=[trigger.type.value for trigger in triggers_of(function) if trigger.fires],
        schedules=schedules,
        last_day=GlanceReply(
            total=total,
            errors=glance.errors,
            error_rate=round(glance.errors / total * 100, 2) if total else 0,
            p95_ms=None if glance.p95_us is None else round(glance.p95_us / 1000, 3),
            series=list(glance.calls),
        ),
    )


def _deploy_error_reply(error: DeployError) -> DeployErrorReply:
    return DeployErrorReply(
        message=error.message,
        file=error.file,
        line=error.line,
        column=error.column,
        text=error.text,
        at=iso(error.at_ms),
    )


def version_reply(version: VersionSummary | Version, live: int | None) -> VersionReply:
    return VersionReply(
        version=version.number,
        live=version.number == live,
        language=version.language.value,
        created_at=iso(version.created_at_ms),
    )


def version_detail_reply(version: Version, live: int | None) -> VersionDetailReply:
    """With the sources, as they were sent."""
    return VersionDetailReply(**version_reply(version, live).to_json(), **version.sources.to_json())

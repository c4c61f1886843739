"""The native API's JSON: what it takes and what it gives."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, StrictInt

from isolet.clock import iso
from isolet.domain.access import Key
from isolet.domain.functions import Function
from isolet.domain.project_limits import ProjectLimits
from isolet.domain.projects import Project
from isolet.domain.versions import Version, VersionSummary


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProjectCreate(_Body):
    slug: str
    name: str | None = None
    plan: str | None = None
    allowed_origins: list[str] | None = None
    limits: dict[str, Any] | None = None
    egress_allow: list[str] | None = None


class ProjectUpdate(_Body):
    """Only what is sent changes; of `limits` too, where null takes the server's default again.

    `egress_allow` are networks among those that the operator opened to functions: null for all, `[]` for none.
    """

    name: str | None = None
    plan: str | None = None
    allowed_origins: list[str] | None = None
    limits: dict[str, Any] | None = None
    egress_allow: list[str] | None = None


class KeyCreate(_Body):
    """`role` is `read`, `invoke`, `deploy` or `admin`; the key is refused from `expires_at` on, a time in ISO 8601."""

    name: str
    role: str
    expires_at: str | None = None


class FunctionUpdate(_Body):
    """Limits and settings of a function; only what is sent changes."""

    name: str | None = None
    slug: str | None = None
    description: str | None = None
    public_endpoint: bool | None = None
    timeout_ms: StrictInt | None = None
    cpu_ms: StrictInt | None = None
    memory_limit_mb: StrictInt | None = None
    concurrency: StrictInt | None = None
    max_instances: StrictInt | None = None
    retry: dict[str, Any] | None = None
    access: str | None = None
    cors: str | None = None
    hosts: list[str] | None = None
    bindings: dict[str, Any] | None = None

    def changes(self) -> dict[str, Any]:
        sent = self.model_dump(exclude_unset=True)
        limits = {name: sent.pop(name) for name in _LIMITS if name in sent}
        return {**sent, "limits": limits} if limits else sent


class SecretValue(_Body):
    """A text, or an object or list that arrives parsed."""

    value: Any


class Variables(RootModel[dict[str, Any]]):
    """Any JSON by name; null removes."""


class Members(RootModel[dict[str, Any]]):
    """An object whose members the use case checks."""


class SchedulePreview(_Body):
    cron: str
    timezone: str | None = None
    dialect: str = "standard"
    count: StrictInt = 5


class SchedulePause(_Body):
    reason: str | None = None


class ScheduleBackfill(_Body):
    """Two moments in ISO 8601; one without a zone is in UTC."""

    from_: str = Field(alias="from")
    to: str


# No more than a database's column holds.
VersionNumber = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Rollback(_Body):
    version: VersionNumber


class SqlQuery(_Body):
    """`params` take the places of `?`; a blob is an array of its bytes.

    `rows` says how a row of the reply looks: `objects` by column name, where of several columns with one name the last
    is there, or `arrays`, with the names in `columns`.
    """

    sql: str
    params: list[Any] = []
    rows: Literal["objects", "arrays"] = "objects"


class MasterKeyRotation(_Body):
    """`new_key` is 32 bytes in base64; without it the server makes one, when it keeps the key itself."""

    new_key: str | None = None


_LIMITS = ("timeout_ms", "cpu_ms", "memory_limit_mb", "concurrency", "max_instances")


def project_object(project: Project, limits: ProjectLimits) -> dict[str, Any]:
    """`limits` are those that hold: the project's own and, for the rest, the server's."""
    return {
        "id": project.id,
        "slug": project.slug,
        "name": project.name,
        "plan": project.plan.value,
        "allowed_origins": list(project.allowed_origins),
        "limits": limits.to_json(),
        "egress_allow": None if project.egress_allow is None else list(project.egress_allow),
        "created_at": iso(project.created_at_ms),
    }


def key_object(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role.value,
        "created_at": iso(key.created_at_ms),
        "expires_at": None if key.expires_at_ms is None else iso(key.expires_at_ms),
        "last_used_at": None if key.last_used_at_ms is None else iso(key.last_used_at_ms),
    }


def function_object(function: Function, project_slug: str) -> dict[str, Any]:
    error = function.deploy_error
    return {
        "id": function.id,
        "project": project_slug,
        "name": function.name,
        "slug": function.slug,
        "description": function.description,
        "status": function.status.value,
        "version": function.version,
        "public_endpoint": function.public_endpoint,
        "access": function.access.value,
        "cors": function.cors.value,
        "hosts": function.hosts or [],
        "bindings": function.bindings or {},
        "compatibility_date": function.compatibility.date,
        "compatibility_flags": list(function.compatibility.flags),
        "deploy_error": error
        and {
            "message": error.message,
            "file": error.file,
            "line": error.line,
            "column": error.column,
            "text": error.text,
            "at": iso(error.at_ms),
        },
        **function.limits.to_json(),
        "retry": function.retry.to_json(),
        "lock_version": function.lock_version,
        "created_at": iso(function.created_at_ms),
        "updated_at": iso(function.updated_at_ms),
        "last_deployed_at": None if function.last_deployed_at_ms is None else iso(function.last_deployed_at_ms),
    }


def version_object(version: VersionSummary | Version, live: int | None) -> dict[str, Any]:
    return {
        "version": version.number,
        "live": version.number == live,
        "language": version.language.value,
        "created_at": iso(version.created_at_ms),
    }


def version_detail(version: Version, live: int | None) -> dict[str, Any]:
    """With the sources, as they were sent."""
    return {**version_object(version, live), **version.sources.to_json()}

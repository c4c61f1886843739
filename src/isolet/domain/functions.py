"""What a function is, and the rules its members keep."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Container, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from isolet.domain.agents import check_agent, with_tool
from isolet.domain.compatibility import Compatibility, check_date, check_flags
from isolet.domain.json_bounds import bounded_json
from isolet.domain.limits import CODE_MAX_BYTES, Limits, from_runtime_config
from isolet.domain.public_routes import Access, CorsRules, check_access, check_cors, check_hosts
from isolet.domain.retries import Retry, check_retry
from isolet.domain.sources import DEFAULT_ENTRY, Sources
from isolet.domain.stores import check_bindings
from isolet.domain.triggers import Trigger, check_triggers, default_triggers
from isolet.errors import InvalidInput, InvalidMember
from isolet.ids import FunctionId, ProjectId

NAME_MAX_CHARS = 255
DESCRIPTION_MAX_CHARS = 10_000
SLUG_MAX_CHARS = 100
_LINE_SEPARATORS = "\u2028\u2029"
_SLUG = re.compile(r"[a-z0-9-]+")


class FunctionStatus(StrEnum):
    DRAFT = "draft"
    DEPLOYED = "deployed"
    ERROR = "error"


class FunctionType(StrEnum):
    CLOUDFLARE_WORKER = "cloudflare_worker"
    SUPABASE_FUNCTION = "supabase_function"


class ResponseMode(StrEnum):
    """`wrapped` nests a successful JSON result under `data`; only functions born wrapped may be so."""

    PASSTHROUGH = "passthrough"
    WRAPPED = "wrapped"


class DeployError(Struct, frozen=True, kw_only=True):
    """Why the last deploy failed. `line` and `column` count from 1; `file` is one of several."""

    message: str
    line: int | None = None
    column: int | None = None
    text: str | None = None
    at_ms: int = 0
    file: str | None = None


class Function(Struct, frozen=True, kw_only=True):
    """A function as stored. `version` is the live one; `status` speaks of the last deploy.

    `env_revision` grows with each change of its variables. `triggers` and `agent` are None where nobody
    set them. `door_settings` hold what only the API that made it knows. `code` is None where it was not read: it may be
    large. What `domain.private_settings` parts from `triggers` and `door_settings` is sealed, in `sealed_triggers` and
    `sealed_env`. `access`, `cors` and `hosts` are of its public address. `files` are its sources as
    JSON, where they are more than one text; `code` is the entry then. `bindings` are as `check_bindings` makes them.
    """

    id: FunctionId
    project_id: ProjectId
    name: str
    slug: str
    code: str | None = None
    description: str | None = None
    function_type: FunctionType = FunctionType.CLOUDFLARE_WORKER
    response_mode: ResponseMode = ResponseMode.PASSTHROUGH
    public_endpoint: bool = False
    runtime_config: dict[str, Any] | None = None
    triggers: tuple[Trigger, ...] | None = None
    agent: dict[str, Any] | None = None
    limits: Limits = field(default_factory=Limits)
    status: FunctionStatus = FunctionStatus.DRAFT
    deploy_error: DeployError | None = None
    version: int | None = None
    env_revision: int = 0
    lock_version: int = 0
    created_by_id: str | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0
    last_deployed_at_ms: int | None = None
    retry: Retry = field(default_factory=Retry)
    door_settings: dict[str, Any] | None = None
    sealed_triggers: bytes | None = None
    sealed_env: bytes | None = None
    access: Access = Access.KEY
    cors: CorsRules = CorsRules.PLATFORM
    hosts: list[str] | None = None
    files: dict[str, Any] | None = None
    compatibility: Compatibility = field(default_factory=Compatibility)
    bindings: dict[str, Any] | None = None

    @property
    def door_schedule(self) -> Any:
        """What the door settings say of when it runs; None when they do not."""
        return (self.door_settings or {}).get("options", {}).get("schedule")

    @property
    def sources(self) -> Sources:
        """Of a function whose code was read."""
        return Sources.of_code(self.code or "") if self.files is None else Sources.from_json(self.files)


def triggers_of(function: Function) -> tuple[Trigger, ...]:
    """Its triggers; where nobody set any, one for HTTP that is as open as the function is."""
    return function.triggers or default_triggers(public=function.public_endpoint)


def check_text(label: str, value: object, *, max_chars: int, allow_empty: bool = False) -> str:
    """The text itself. Raises InvalidInput when it is not text, blank, too long, or holds a NUL."""
    if not isinstance(value, str):
        raise InvalidInput(f"{label} must be a string")
    if not allow_empty and not value.strip():
        raise InvalidInput(f"{label} can't be blank")
    if len(value) > max_chars:
        raise InvalidInput(f"{label} is too long (maximum is {max_chars} characters)")
    if not is_storable(value):
        raise InvalidInput(f"{label} holds characters that cannot be stored")
    return value


def is_storable(text: str) -> bool:
    """False for NUL and lone surrogates, which no database and no UTF-8 file takes."""
    try:
        # Thirty times as quick as a look at each character.
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def check_name(value: object) -> str:
    """A function's name: one line of text, since it is shown, logged and sent in headers. Raises InvalidInput."""
    name = check_text("name", value, max_chars=NAME_MAX_CHARS)
    if any(char in _LINE_SEPARATORS or unicodedata.category(char) == "Cc" for char in name):
        raise InvalidInput("name must not hold control characters or line separators")
    return name


def check_code(value: object) -> str:
    """Source text of at most 1 MB. Raises InvalidInput."""
    if not isinstance(value, str):
        raise InvalidInput("code must be a string")
    if not value.strip():
        raise InvalidInput("code can't be blank")
    if not is_storable(value):
        raise InvalidInput("code holds characters that cannot be stored")
    if len(value.encode()) > CODE_MAX_BYTES:
        raise InvalidInput("code is too large (maximum is 1 MB)")
    return value


def check_slug(value: object) -> str:
    if not isinstance(value, str) or not _SLUG.fullmatch(value):
        raise InvalidInput("slug may hold only lower case letters, digits and hyphens")
    if len(value) > SLUG_MAX_CHARS:
        raise InvalidInput(f"slug is too long (maximum is {SLUG_MAX_CHARS} characters)")
    return value


def slug_from(name: str) -> str:
    """Lower case, accents dropped, everything else hyphens; `function` when nothing is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[: SLUG_MAX_CHARS - 8].strip("-") or "function"


def free_slug(wanted: str, taken: Container[str]) -> str:
    """`wanted`, or `wanted-2`, `wanted-3` …, whichever is the first not taken."""
    if wanted not in taken:
        return wanted
    number = 2
    while f"{wanted}-{number}" in taken:
        number += 1
    return f"{wanted}-{number}"


def changed(function: Function, changes: Mapping[str, Any]) -> Function:
    """The function with `changes` applied; every value is checked. Raises InvalidInput and changes nothing.

    `changes` may hold name, slug, description, code, function_type, response_mode, public_endpoint,
    runtime_config, triggers, agent, tool (a part of agent, as the native API has it), retry, door_settings, access,
    cors, hosts, bindings, what is sealed of these, sources (in place of code), compatibility_date,
    compatibility_flags, and limits (a mapping of the limits to change).
    """
    # A function may keep the name that it has, by whatever rule it was made.
    kept = {"limits", "tool", *_OF_RUNTIME, *(["name"] if changes.get("name") == function.name else [])}
    values = {name: _CHECKS[name](value) for name, value in changes.items() if name not in kept}
    if "tool" in changes:
        values["agent"] = with_tool(function.agent, changes["tool"])
    limits = function.limits
    if "runtime_config" in values:
        limits = limits.changed(from_runtime_config(values["runtime_config"]))
    limits = limits.changed(changes.get("limits", {}))
    if (sources := values.pop("sources", None)) is not None:
        values |= {"code": sources.code, "files": _stored(sources)}
    elif "code" in values:
        values["files"] = None
    compatibility = replace(
        function.compatibility,
        **{_OF_RUNTIME[name][0]: _OF_RUNTIME[name][1](changes[name]) for name in _OF_RUNTIME if name in changes},
    )
    result = replace(function, **values, limits=limits, compatibility=compatibility)
    # Only workers have a public address, and only a function that was created wrapped may stay wrapped.
    if result.public_endpoint and result.function_type is not FunctionType.CLOUDFLARE_WORKER:
        raise InvalidInput("public_endpoint is only supported for cloudflare_worker functions")
    if result.response_mode is ResponseMode.WRAPPED and function.response_mode is not ResponseMode.WRAPPED:
        raise InvalidMember("response_mode", " can't be changed to wrapped")
    return result


def _stored(sources: Sources) -> dict[str, Any] | None:
    """None for what the code alone says."""
    return None if sources.single is not None and sources.entry == DEFAULT_ENTRY else sources.to_json()


def _check_description(value: object) -> str | None:
    if value is None:
        return None
    return check_text("description", value, max_chars=DESCRIPTION_MAX_CHARS, allow_empty=True)


def _check_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput("public_endpoint must be true or false")
    return value


def _check_config(value: object) -> dict[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise InvalidInput("runtime_config must be an object or null")
    return None if value is None else dict(bounded_json("runtime_config", value))


def _check_door_settings(value: object) -> dict[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise InvalidInput("door_settings must be an object or null")
    return value


def _check_choice(label: str, choices: type[StrEnum]) -> Callable[[object], StrEnum]:
    def check(value: object) -> StrEnum:
        if not isinstance(value, str) or value not in list(choices):
            raise InvalidMember(label, f" must be one of {', '.join(choices)}")
        return choices(value)

    return check


_OF_RUNTIME: Mapping[str, tuple[str, Callable[[object], Any]]] = {
    "compatibility_date": ("date", check_date),
    "compatibility_flags": ("flags", check_flags),
}
_CHECKS: Mapping[str, Callable[[object], Any]] = {
    "name": check_name,
    "slug": check_slug,
    "description": _check_description,
    "code": check_code,
    "function_type": _check_choice("function_type", FunctionType),
    "response_mode": _check_choice("response_mode", ResponseMode),
    "public_endpoint": _check_flag,
    "runtime_config": _check_config,
    "triggers": check_triggers,
    "agent": check_agent,
    "retry": lambda value: check_retry(bounded_json("retry", value)),
    "door_settings": _check_door_settings,
    "access": check_access,
    "cors": check_cors,
    "hosts": check_hosts,
    "bindings": check_bindings,
    # `check_sources` made them.
    "sources": lambda sources: sources,
    # Bytes that only the vault reads.
    "sealed_triggers": lambda sealed: sealed,
    "sealed_env": lambda sealed: sealed,
}

"""The Butterbase API's JSON: what it takes and what it gives. Replies carry the seed's names and the clients' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isolet.api.butterbase.context import RESERVED_PREFIX
from isolet.clock import iso
from isolet.domain.agents import AGENT_DEFAULTS, check_agent
from isolet.domain.environment import check_changes, check_values
from isolet.domain.functions import Function, triggers_of
from isolet.domain.invocations import Invocation
from isolet.domain.limits import check_bound
from isolet.domain.metrics import Summary, Sums
from isolet.domain.triggers import (
    HttpTrigger,
    check_sent_triggers,
    shown_triggers,
    trigger_warnings,
)
from isolet.errors import InvalidInput
from isolet.functions.publisher import Release

NAME_MAX_CHARS = 100
_ERROR_SHARE = 0.1
_MB = 1024 * 1024
_LIMITS = {"timeoutMs": "timeout_ms", "memoryLimitMb": "memory_limit_mb"}
_AGENT = ("agent_tool", "agent_tool_description", "agent_tool_mode", "agent_tool_exposed_to")


def release(body: object) -> Release:
    """A deploy. Raises InvalidInput."""
    if not isinstance(body, Mapping):
        raise InvalidInput("body: must be an object")
    name, code = body.get("name"), body.get("code")
    if not isinstance(name, str) or not 1 <= len(name) <= NAME_MAX_CHARS or not name.strip():
        raise InvalidInput(f"name: must be a string of 1 to {NAME_MAX_CHARS} characters")
    if not isinstance(code, str) or not code.strip():
        raise InvalidInput("code: must be a string with at least one character")
    values: dict[str, Any] = {}
    if body.get("description") is not None:
        values["description"] = body["description"]
    limits = {ours: check_bound(ours, body[name], shown_as=name) for name, ours in _LIMITS.items() if name in body}
    if limits:
        values["limits"] = limits
    triggers = _triggers(body)
    agent = {member: body[member] for member in AGENT_DEFAULTS if member in body}
    check_agent(agent)
    return Release(
        name=name,
        code=code,
        values=values,
        triggers=None if triggers is None else check_sent_triggers(triggers),
        agent=agent,
        environment=check_values(body["envVars"], reserved_prefix=RESERVED_PREFIX) if "envVars" in body else None,
    )


def environment_changes(body: object) -> dict[str, str | None]:
    """`{"envVars": {…}}` as clients send it, or the flat object `{NAME: value}`. Raises InvalidInput."""
    if isinstance(body, Mapping) and "envVars" in body:
        if len(body) > 1 or not isinstance(body["envVars"], Mapping):
            raise InvalidInput("envVars: must be an object, and the only member of the body")
        return check_changes(body["envVars"], reserved_prefix=RESERVED_PREFIX)
    return check_changes(body, reserved_prefix=RESERVED_PREFIX)


def impersonation(body: object) -> bool:
    """Raises InvalidInput."""
    value = body.get("allow_service_key_impersonation") if isinstance(body, Mapping) else None
    if not isinstance(value, bool):
        raise InvalidInput("allow_service_key_impersonation: must be true or false")
    return value


def deployed_object(function: Function, base: str, app: str) -> dict[str, Any]:
    triggers = [{"type": trigger.type, "enabled": trigger.fires} for trigger in triggers_of(function)]
    return {
        "id": function.id,
        "name": function.name,
        "url": public_url(function, base, app),
        "triggers": triggers,
        "deployedAt": time(function.last_deployed_at_ms),
        "version": function.version,
        "cacheInvalidation": _INVALIDATED,
        **_warnings(function),
    }


def listed_object(function: Function, calls: Summary, base: str, app: str) -> dict[str, Any]:
    """`errorRate` and `avgDuration` cover the last 24 hours, as does `status`."""
    rate = _error_rate(calls.day)
    return {
        "id": function.id,
        "name": function.name,
        "description": function.description,
        "triggers": shown_triggers(triggers_of(function)),
        "url": public_url(function, base, app),
        "status": "error" if rate > _ERROR_SHARE else "active",
        "deployedAt": time(function.last_deployed_at_ms),
        "lastInvoked": time(calls.ever.last_at_ms or None),
        "lastStatus": calls.last_status,
        "invocationCount": calls.ever.total,
        "errorRate": rate,
        "avgDuration": _average_ms(calls.day),
        **_agent_members(function),
        **_warnings(function),
    }


def _error_rate(sums: Sums) -> float:
    """A reply with a status of 400 or more counts as an error, whoever gave it."""
    return sums.http_errors / sums.total if sums.total else 0


def _average_ms(sums: Sums) -> float:
    return round((sums.average_us or 0) / 1000, 3)


def detailed_object(
    function: Function, calls: Summary, variables: Sequence[str], base: str, app: str
) -> dict[str, Any]:
    """Metrics over all calls: `error_rate` in per cent, `errorRate` a fraction, durations in milliseconds."""
    rate, average_ms, last = _error_rate(calls.ever), _average_ms(calls.ever), time(calls.ever.last_at_ms or None)
    return {
        "id": function.id,
        "name": function.name,
        "description": function.description,
        "code": function.code,
        "url": public_url(function, base, app),
        "triggers": shown_triggers(triggers_of(function)),
        "timeoutMs": function.limits.timeout_ms,
        "memoryLimitMb": function.limits.memory_limit_mb,
        "deployedAt": time(function.last_deployed_at_ms),
        "version": function.version,
        "lastInvoked": last,
        "invocationCount": calls.ever.total,
        "errorCount": calls.ever.http_errors,
        "errorRate": rate,
        "avgDuration": average_ms,
        "total_invocations": calls.ever.total,
        "error_count": calls.ever.http_errors,
        "error_rate": round(rate * 100, 3),
        "avg_duration_ms": average_ms,
        "last_invocation": last,
        **_agent_members(function),
        "allow_service_key_impersonation": {**AGENT_DEFAULTS, **(function.agent or {})}[
            "allow_service_key_impersonation"
        ],
        "envKeys": list(variables),
        **_warnings(function),
    }


def environment_reply(function: Function, keys: Sequence[str]) -> dict[str, Any]:
    return {
        "message": "Environment variables updated successfully",
        "function": {"id": function.id, "name": function.name, "updated_at": iso(function.updated_at_ms)},
        "updatedKeys": list(keys),
        "cache_invalidation": _INVALIDATED,
    }


def app_environment_reply(keys: Sequence[str], functions: Sequence[Function]) -> dict[str, Any]:
    names = [function.name for function in functions]
    return {
        "message": "Environment variables updated successfully",
        "updatedKeys": list(keys),
        "invalidated": {"functions": names, "count": len(names), "durable_objects_redeployed": False},
    }


def settings_reply(function: Function, allowed: bool) -> dict[str, Any]:
    return {
        "message": "Function settings updated successfully",
        "function": {
            "id": function.id,
            "name": function.name,
            "allow_service_key_impersonation": allowed,
            "updated_at": iso(function.updated_at_ms),
        },
        "cache_invalidation": _INVALIDATED,
    }


def log_entry(call: Invocation) -> dict[str, Any]:
    error = call.error or (f"HTTP {call.status}" if call.status >= 400 else None)
    duration = round(call.duration_us / 1000)
    memory = None if not call.memory_bytes else round(call.memory_bytes / _MB, 2)
    return {
        "id": call.id,
        "timestamp": iso(call.started_at_ms),
        "method": call.method,
        "path": call.path,
        "statusCode": call.status,
        "status_code": call.status,
        "duration": duration,
        "duration_ms": duration,
        "memoryUsed": memory,
        "memory_mb": memory,
        "error": error,
        "stack": call.stack,
        "consoleLogs": [
            {"level": line.level, "message": line.message, "timestamp": line.at_ms} for line in call.console
        ],
    }


def public_url(function: Function, base: str, app: str) -> str | None:
    """Where it can be called; None when it has no http trigger."""
    if any(isinstance(trigger, HttpTrigger) for trigger in triggers_of(function)):
        return f"{base}/v1/{app}/fn/{function.name}"
    return None


_INVALIDATED = {"success": True, "attempts": 1}


def _triggers(body: Mapping[str, Any]) -> object:
    if body.get("triggers") is not None:
        return body["triggers"]
    single = body.get("trigger")
    return None if single is None else [single]


def _agent_members(function: Function) -> dict[str, Any]:
    settings = {**AGENT_DEFAULTS, **(function.agent or {})}
    return {name: settings[name] for name in _AGENT}


def _warnings(function: Function) -> dict[str, Any]:
    """A member that is there when there is something to warn of."""
    texts = trigger_warnings(triggers_of(function))
    return {"warnings": texts} if texts else {}


def time(ms: int | None) -> str | None:
    return None if ms is None else iso(ms)

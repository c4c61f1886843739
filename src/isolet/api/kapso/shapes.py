"""Kapso's JSON: what its requests say and how its objects look."""

from __future__ import annotations

from typing import Any

from isolet.clock import iso
from isolet.domain.functions import DeployError, Function, FunctionType
from isolet.domain.invocations import ConsoleLine, Door, Invocation, Outcome
from isolet.domain.strict_json import read_writable
from isolet.errors import InvalidInput

_UPDATES = {
    "name": "name",
    "slug": "slug",
    "description": "description",
    "code": "code",
    "public_endpoint": "public_endpoint",
    "runtime_config": "runtime_config",
    "invoke_response_mode": "response_mode",
}
_CREATES = {**_UPDATES, "function_type": "function_type"}
# A console line's level as Kapso names it.
_LEVELS = {"log": "info"}


def body_of(example: dict[str, Any]) -> dict[str, Any]:
    """What the API pages show of a request's body."""
    content = {"application/json": {"schema": {"type": "object"}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def creation(body: Any) -> dict[str, Any]:
    """The values of a `{"function": {…}}` that creates. Members this API does not know are passed over."""
    sent = envelope(body, "function")
    values = {ours: sent[theirs] for theirs, ours in _CREATES.items() if theirs in sent}
    for name in ("slug", "response_mode", "function_type", "public_endpoint"):
        if values.get(name, "") is None:
            del values[name]
    return values


def update(body: Any) -> tuple[dict[str, Any], object]:
    """The changes, and the `lock_version` that the caller read, if it says."""
    sent = envelope(body, "function")
    return {ours: sent[theirs] for theirs, ours in _UPDATES.items() if theirs in sent}, sent.get("lock_version")


def secret(body: Any) -> tuple[object, object]:
    """The name and the value of a `{"secret": {…}}`."""
    sent = envelope(body, "secret")
    if "value" not in sent:
        raise InvalidInput("value is required")
    return sent.get("name"), sent["value"]


def envelope(body: Any, *names: str) -> dict[str, Any]:
    """The object under the first of these names that is there. Raises InvalidInput."""
    inner = next((body[name] for name in names if name in body), None) if isinstance(body, dict) else None
    if not isinstance(inner, dict):
        raise InvalidInput(f'the request must be a JSON object with "{names[0]}"')
    return inner


def function_object(function: Function, base: str, prefix: str) -> dict[str, Any]:
    """`base` is the server's public address, `prefix` the API's: each shows its own invoke URL."""
    worker = function.function_type is FunctionType.CLOUDFLARE_WORKER
    return {
        "id": function.id,
        "name": function.name,
        "slug": function.slug,
        "lock_version": function.lock_version,
        "description": function.description,
        "code": function.code,
        "version": function.version,
        "status": function.status.value,
        "deploy_error": _deploy_error(function.deploy_error),
        "last_deployed_at": _time(function.last_deployed_at_ms),
        "function_type": function.function_type.value,
        "invoke_response_mode": function.response_mode.value,
        "public_endpoint": function.public_endpoint,
        "runtime_config": function.runtime_config,
        "endpoint_url": f"{base}{prefix}/functions/{function.id}/invoke" if worker else None,
        "project_id": function.project_id,
        "created_by_id": function.created_by_id,
        "created_at": iso(function.created_at_ms),
        "updated_at": iso(function.updated_at_ms),
    }


def invocation_object(invocation: Invocation) -> dict[str, Any]:
    """`stack`, in the author's lines, comes with errors that have one; `console_truncated` where more was printed."""
    more: dict[str, Any] = {"stack": invocation.stack} if invocation.stack else {}
    if invocation.console_truncated:
        more["console_truncated"] = True
    return {
        "id": invocation.id,
        "status_code": _status(invocation),
        "duration_ms": round(invocation.duration_us / 1000),
        "request_body": _body(invocation.request_body),
        "response_body": _body(invocation.response_body),
        "error_message": invocation.error if invocation.outcome is not Outcome.OK else None,
        "created_at": iso(invocation.started_at_ms),
        "console_logs": [_console(line) for line in invocation.console],
        **more,
    }


def _status(call: Invocation) -> int:
    """What the caller was told: this API answers 500 where others say 504 or 502."""
    told = call.door is Door.KAPSO and call.outcome in (Outcome.TIMEOUT, Outcome.CRASHED)
    return 500 if told else call.status


def _console(line: ConsoleLine) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "level": _LEVELS.get(line.level, line.level),
        "message": line.message,
        "logged_at": iso(line.at_ms),
    }
    if line.stack:
        shown["stack"] = line.stack
    return {**shown, "truncated": True} if line.cut else shown


def _deploy_error(error: DeployError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "message": error.message,
        "line": error.line,
        "column": error.column,
        "text": error.text,
        "at": iso(error.at_ms),
    }


def _body(stored: bytes) -> Any:
    """JSON where it is, else its text; null for none."""
    if not stored:
        return None
    try:
        return read_writable(stored.decode())
    except (ValueError, RecursionError):
        return stored.decode(errors="replace")


def _time(ms: int | None) -> str | None:
    return None if ms is None else iso(ms)

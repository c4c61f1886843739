"""How a failed call is told where no door is at hand: Altair's error body and status (`wire-facts.md` 3.3)."""

from __future__ import annotations

import json
import re
from typing import Any

from isolet.errors import HandlerFailed, IsoletError

STATUS = {
    "invalid_request": 400,
    "invalid_input": 422,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "not_deployed": 409,
    "build_failed": 422,
    "too_large": 413,
    "too_many_requests": 429,
    "handler_failed": 500,
    "function_timeout": 504,
    "function_crashed": 502,
    "client_disconnected": 499,
    "unavailable": 503,
}
_TYPE = re.compile(r"([A-Za-z_$][\w$]*): ")
_PLACE = re.compile(r":(\d+):\d+\)?$", re.MULTILINE)


def failure(error: IsoletError) -> tuple[int, bytes]:
    """The status and the body `{"error": {"status", "message", "details"?}}`."""
    status = STATUS.get(error.code, 500)
    return status, json.dumps({"error": error_object(status, error)}).encode()


def error_object(status: int, error: IsoletError) -> dict[str, Any]:
    """`<Type> at line N: <text>` with details, for what a handler threw."""
    if not isinstance(error, HandlerFailed):
        return {"status": status, "message": error.message[:512]}
    stack = error.stack or ""
    kind, place = _TYPE.match(error.message), _PLACE.search(stack)
    name = kind[1] if kind else "Error"
    said = error.message[kind.end() :] if kind else error.message
    line = int(place[1]) if place else None
    where = name if line is None else f"{name} at line {line}"
    details = {
        "exception_info": stack[:2048] or None,
        "exception_line_code": None,
        "exception_line_number": line,
        "exception_type": name,
    }
    return {"status": status, "message": f"{where}: {said}"[:512], "details": details}

"""Altair's error body and status; asynchronous calls tell failures by them as well."""

from __future__ import annotations

import re
from typing import Any

from isolet.api.asgi import dumps
from isolet.api.errors import STATUS, ErrorReply, headers_of, public_error, status_of
from isolet.domain.source_lines import author_line
from isolet.errors import Forbidden, HandlerFailed, IsoletError, Unauthenticated

_NAMES = {"environment": "env"}
_TYPE = re.compile(r"([A-Za-z_$][\w$]*)(?: \[[A-Z0-9_]+\])?: ")


def error_reply(error: Exception) -> ErrorReply:
    """`{"error": {"status", "message", "details"?}}`."""
    told = public_error(error, _NAMES)
    status = status_of(told, STATUS)
    if isinstance(told, Unauthenticated):
        shown: dict[str, object] = {"status": status, "message": "Unauthenticated"}
    elif isinstance(told, Forbidden):
        shown = {"status": status, "message": "Unauthorized"}
    else:
        shown = _error_object(status, told)
    return ErrorReply(status=status, body={"error": shown}, headers=headers_of(told))


def failure(error: IsoletError) -> tuple[int, bytes]:
    """The status and the body `{"error": {"status", "message", "details"?}}`."""
    status = status_of(error, STATUS)
    return status, dumps({"error": _error_object(status, error)})


def _error_object(status: int, error: IsoletError) -> dict[str, Any]:
    """`<Type> at line N: <text>` with details, for what a handler threw."""
    if not isinstance(error, HandlerFailed):
        return {"status": status, "message": error.message[:512]}
    stack = error.stack or ""
    kind, line = _TYPE.match(error.message), author_line(stack)
    name = kind[1] if kind else "Error"
    said = error.message[kind.end() :] if kind else error.message
    where = name if line is None else f"{name} at line {line}"
    details = {
        "exception_info": stack[:2048] or None,
        "exception_line_code": None,
        "exception_line_number": line,
        "exception_type": name,
    }
    return {"status": status, "message": f"{where}: {said}"[:512], "details": details}

"""Errors in the dialect of the native API."""

from __future__ import annotations

from typing import Any

from isolet.api.errors import STATUS, ErrorReply, headers_of, public_error, status_of


def error_reply(error: Exception) -> ErrorReply:
    """`{"error": {"code", "message", "details"?}}`."""
    told = public_error(error)
    body: dict[str, Any] = {"code": told.code, "message": told.message}
    if told.details:
        body["details"] = dict(told.details)
    return ErrorReply(status=status_of(told, STATUS), body={"error": body}, headers=headers_of(told))

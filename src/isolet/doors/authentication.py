"""Who is asking: reads the credentials of a request."""

from __future__ import annotations

from isolet.domain.access import Principal
from isolet.doors.http import Headers
from isolet.errors import Unauthenticated
from isolet.invoke.headers import get
from isolet.invoke.routes import Routes


def api_key(headers: Headers) -> str | None:
    """The `X-API-Key` header."""
    value = get(headers, b"x-api-key")
    return value.decode("latin-1").strip() if value is not None else None


def bearer(headers: Headers) -> str | None:
    """The token of an `Authorization: Bearer` header."""
    value = get(headers, b"authorization")
    if value is None:
        return None
    scheme, _, token = value.decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def authenticate(routes: Routes, key: str | None) -> Principal:
    """Raises Unauthenticated for no key and for one that nobody issued."""
    principal = routes.principal(key)
    if principal is None:
        raise Unauthenticated("API key is missing" if not key else "API key is not valid")
    return principal


def without_keys(routes: Routes, headers: Headers) -> Headers:
    """The headers less every `Authorization` that holds one of our keys; an end user's token stays."""
    if get(headers, b"authorization") is None:
        return headers
    return [(name, value) for name, value in headers if name != b"authorization" or not _is_key(routes, value)]


def _is_key(routes: Routes, value: bytes) -> bool:
    return routes.principal(value.strip().rpartition(b" ")[2].decode("latin-1")) is not None

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

"""What both clients share of their connection: its options, and the errors of making one."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from isolet.client.errors import ApiError, Unreachable
from isolet.client.messages import Request

# Longer than a stream is silent, which is 15 s.
TIMEOUT_S = 60.0


def options(url: str, key: str, timeout_s: float) -> dict[str, Any]:
    """Of an HTTP client. Raises ApiError for a key that no header holds: an HTTP client would quote it in its error."""
    if not (key.isascii() and key.isprintable()):
        raise ApiError("the key cannot be sent: it holds characters that no header holds")
    return {
        "base_url": url.rstrip("/"),
        "headers": {"X-API-Key": key},
        "timeout": timeout_s,
        "trust_env": False,
        "verify": _trusted(url),
    }


def _trusted(url: str) -> ssl.SSLContext:
    """Whom to believe: the authorities that httpx brings along, and those of the machine, among them private ones."""
    if not url.lower().startswith("https:"):
        # Nobody: to read the authorities takes 50 ms, and redirects are not followed.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


def arguments(request: Request, timeout_s: float) -> dict[str, Any]:
    """Of a request of an HTTP client."""
    return {
        "method": request.method,
        "url": request.target,
        "headers": request.headers,
        "content": request.content,
        "timeout": timeout_s + request.wait_s,
    }


@contextmanager
def reaching(url: object) -> Iterator[None]:
    """Raises Unreachable for what goes wrong between here and the server."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise Unreachable(f"cannot reach {url}: {exc}") from exc

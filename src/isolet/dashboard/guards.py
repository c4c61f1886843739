"""Who sends a request, and whether one that changes something comes from a page of ours."""

from __future__ import annotations

import asyncio
import hmac
import re
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from isolet.domain.own_keys import SESSION_COOKIE
from isolet.domain.platform_pages import PlatformPages, origin_of
from isolet.domain.sessions import LIFE_MS
from isolet.errors import Forbidden, RequestError, TooLarge

TOKEN_FIELD = "form_token"  # noqa: S105
TOKEN_HEADER = "x-form-token"  # noqa: S105
_NAME = SESSION_COOKIE.decode()
# Between semicolons only: the value of another cookie, which a function may set, can hold commas and spaces.
_TOKEN = re.compile(rf"(?:^|;)[ \t]*{_NAME}=([A-Za-z0-9_-]{{20,100}})[ \t]*(?=$|;)")
_FORM_MAX_BYTES = 1024 * 1024
_FIELDS_MAX = 200
_SMALL_BYTES = 16 * 1024
# Of who is not signed in yet.
LOGIN_MAX_BYTES = 4096


def session_tokens(request: Request) -> list[str]:
    """Every token that comes as the session's cookie: a page on a neighbouring name may have put another beside it."""
    found = [token for value in request.headers.getlist("cookie") for token in _TOKEN.findall(value)]
    return found[:5]


def set_session(reply: Response, token: str | None, pages: PlatformPages) -> None:
    """Give the browser a session, or take it away."""
    age_s = LIFE_MS // 1000 if token else 0
    cookie = f"{_NAME}={token or ''}; Path=/dashboard; Max-Age={age_s}; HttpOnly; SameSite=Strict"
    secure = (pages.url or "").lower().startswith("https:")
    reply.headers.append("set-cookie", cookie + "; Secure" * secure)


def check_origin(request: Request, pages: PlatformPages) -> None:
    """Raises Forbidden for a changing request that no page of this origin sent."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site not in (None, "same-origin") or (origin is None and site is None):
        raise Forbidden("This was sent from another page; open the dashboard and try again")
    if origin is not None and not _is_ours(origin, request.headers.get("host", ""), pages):
        raise Forbidden("This was sent from another page; open the dashboard and try again")


def _is_ours(origin: str, host: str, pages: PlatformPages) -> bool:
    if pages.url is not None and origin == origin_of(pages.url):
        return True
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and bool(host) and parts.netloc.lower() == host.lower()


def check_token(given: str | None, wanted: str) -> None:
    """Raises Forbidden."""
    if given is None or not hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode()):
        raise Forbidden("This page is too old; load it again and retry")


async def read_body(request: Request, most: int) -> bytes:
    """Raises TooLarge."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise TooLarge(f"The request is larger than {most} bytes")
    return bytes(body)


async def read_form(request: Request, most: int = _FORM_MAX_BYTES) -> dict[str, str]:
    """The fields of a form as browsers send it, of at most `most` bytes. Raises RequestError, TooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise RequestError("The form was not sent as a form")
    body = await read_body(request, most)
    # Large ones take their time.
    return _fields(body) if len(body) <= _SMALL_BYTES else await asyncio.to_thread(_fields, body)


def _fields(body: bytes) -> dict[str, str]:
    """Raises RequestError."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="replace")
    except ValueError as exc:
        raise RequestError("The form cannot be read") from exc
    return dict(pairs)

"""The id of a request, and what binds it to the lines that are logged while the request is served."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from structlog.contextvars import bound_contextvars

from isolet.api.asgi import Headers, Scope, Send, send_json
from isolet.api.errors import ErrorReply
from isolet.domain.access import KEY_PREFIX, TOKEN_PREFIX
from isolet.errors import IsoletError
from isolet.ids import new_id
from isolet.wire.headers import get

HEADER = b"x-request-id"
_SANE = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_SUBJECTS = re.compile(r"/(function|invocation)s/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?=/|$)", re.IGNORECASE)
# Nobody's key gets into the log by this way.
_KEYS = (KEY_PREFIX.encode(), TOKEN_PREFIX.encode())
_PLACE = "isolet.request_id"


def request_id_of(scope: Scope) -> str:
    """The caller's `X-Request-Id` when it is a plain word of at most 128 characters, else one made for the request."""
    if _PLACE not in scope:
        given = get(scope["headers"], HEADER)
        sane = given is not None and _SANE.fullmatch(given) and not any(prefix in given for prefix in _KEYS)
        scope[_PLACE] = given.decode() if given is not None and sane else new_id()
    known: str = scope[_PLACE]
    return known


@contextmanager
def bound(scope: Scope) -> Iterator[str]:
    """Lines that are logged inside carry the request's id, and those of the function and invocation in its path."""
    request_id = request_id_of(scope)
    subjects = {f"{kind.lower()}_id": subject.lower() for kind, subject in _SUBJECTS.findall(scope["path"])}
    with bound_contextvars(request_id=request_id, **subjects):
        yield request_id


async def send_error(
    scope: Scope, send: Send, render: Callable[[Exception], ErrorReply], error: Exception, more: Headers | None = None
) -> None:
    """Tell the caller of a function what went wrong; only here, on the path of calls, is anything bound."""
    ids = {}
    if isinstance(error, IsoletError):
        ids = {name: error.details[name] for name in ("invocation_id", "function_id") if name in error.details}
    with bound(scope), bound_contextvars(**ids):
        told = render(error)
    headers = [(name.encode(), value.encode()) for name, value in told.headers.items()]
    await send_json(send, told.status, told.body, [*headers, *(more or [])])

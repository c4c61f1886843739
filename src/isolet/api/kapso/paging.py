"""Pages of lists as Kapso's newer routes have them: a cursor `after` leads to what is older, `before` to what is newer.

A cursor holds the place and nothing else, so it stays good when what it came from is deleted.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from fastapi import Response
from msgspec import Struct

from isolet.api.asgi import dumps
from isolet.api.reply import joined
from isolet.errors import InvalidInput

T = TypeVar("T")
LIMIT = 20
LIMIT_MAX = 100
_CURSOR_MAX_CHARS = 100


class Page(Struct, frozen=True, kw_only=True):
    """What a request asks for: at most one of `older_than` and `newer_than`, as a cursor holds them."""

    limit: int
    older_than: str | None = None
    newer_than: str | None = None


class Paged(Struct, Generic[T], frozen=True, kw_only=True):
    """`items` are newest first."""

    items: Sequence[T]
    has_older: bool
    has_newer: bool

    def paging(self, mark: Callable[[T], str]) -> dict[str, Any]:
        before = _cursor(mark(self.items[0])) if self.items else None
        after = _cursor(mark(self.items[-1])) if self.items else None
        return {
            "cursors": {"before": before, "after": after},
            "next": after if self.has_older else None,
            "previous": before if self.has_newer else None,
        }


async def paged_reply(shape: Callable[[T], Any], mark: Callable[[T], str], page: Paged[T]) -> Response:
    """`{"data": […], "paging": …}` of what `shape` makes of each item; `mark` is what a cursor holds of one."""
    data = await asyncio.to_thread(joined, shape, page.items)
    body = b'{"data":[' + data + b'],"paging":' + dumps(page.paging(mark)) + b"}"
    return Response(body, media_type="application/json")


def page_of(query: Mapping[str, str]) -> Page:
    """Raises InvalidInput."""
    text = query.get("limit") or str(LIMIT)
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= LIMIT_MAX or len(text) > 9:
        raise InvalidInput(f"limit must be a whole number from 1 to {LIMIT_MAX}")
    after, before = query.get("after") or None, query.get("before") or None
    if after is not None and before is not None:
        raise InvalidInput("after and before cannot be given together")
    return Page(
        limit=int(text),
        older_than=None if after is None else _mark("after", after),
        newer_than=None if before is None else _mark("before", before),
    )


def cut(page: Page, found: Sequence[T]) -> Paged[T]:
    """Of one more than a page, newest first, if there were so many."""
    more = len(found) > page.limit
    if page.newer_than is not None:
        return Paged(items=found[1:] if more else found, has_older=True, has_newer=more)
    return Paged(items=found[: page.limit], has_older=more, has_newer=page.older_than is not None)


def _cursor(mark: str) -> str:
    return base64.urlsafe_b64encode(mark.encode()).decode().rstrip("=")


def _mark(name: str, cursor: str) -> str:
    try:
        if len(cursor) > _CURSOR_MAX_CHARS or not cursor.isascii():
            raise ValueError("not one of ours")
        mark = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (ValueError, binascii.Error):
        raise InvalidInput(f"{name} is not a cursor of a list") from None
    if not mark or not all(char.isalnum() or char == "-" for char in mark):
        raise InvalidInput(f"{name} is not a cursor of a list")
    return mark


def event_number(name: str, mark: str | None) -> int | None:
    """What a cursor of events holds. Raises InvalidInput."""
    if mark is None:
        return None
    if not mark.isdigit() or len(mark) > 9:
        raise InvalidInput(f"{name} is not a cursor of this list")
    return int(mark)

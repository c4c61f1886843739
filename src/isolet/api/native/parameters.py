"""What the native routes share: how they read cursors, times and names of functions."""

from __future__ import annotations

import contextlib
from typing import Annotated

from fastapi import Query

from isolet.clock import parse_iso
from isolet.domain.projects import check_slug
from isolet.errors import InvalidInput, NotFound
from isolet.ids import FunctionId, ProjectId, is_uuid
from isolet.routing.routes import Routes

Limit = Annotated[int, Query(ge=1, le=500)]
# PostgreSQL takes no NUL.
Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]
_BAD_CURSOR = "cursor is not one that this API gave"
_CURSOR_DIGITS = 9


def id_cursor(cursor: str) -> str:
    """A cursor that is an id. Raises InvalidInput."""
    if not is_uuid(cursor):
        raise InvalidInput(_BAD_CURSOR)
    return cursor.lower()


def slug_cursor(cursor: str) -> str:
    """A cursor that is a project's slug. Raises InvalidInput."""
    try:
        return check_slug(cursor)
    except InvalidInput:
        raise InvalidInput(_BAD_CURSOR) from None


def number_cursor(cursor: str) -> int:
    """A cursor that is a whole number. Raises InvalidInput."""
    if not (cursor.isascii() and cursor.isdigit()) or len(cursor) > _CURSOR_DIGITS:
        raise InvalidInput(_BAD_CURSOR)
    return int(cursor)


def time_ms(name: str, text: str | None) -> int | None:
    """A time in ISO 8601, or in milliseconds since the epoch. Raises InvalidInput."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return int(text[:15])
    # In a query a plus that was not escaped arrives as a space.
    for written in (text, text.replace(" ", "+")):
        with contextlib.suppress(ValueError):
            return parse_iso(written)
    raise InvalidInput(f"{name} must be a time such as 2026-01-31T12:00:00Z, or milliseconds")


def function_id(routes: Routes, project_id: ProjectId, text: str) -> FunctionId:
    """A function of the project by its id, its slug or its name, slugs before names. Raises NotFound.

    An id is taken as it is: records and callbacks of a function that is gone are found by it.
    """
    if is_uuid(text):
        return FunctionId(text.lower())
    route = routes.named(project_id, text)
    if route is None:
        raise NotFound("Function not found")
    return route.function_id

"""What the storage answers to a query, passed on as it comes: its own JSON of rows, with our beginning and end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from isolet.errors import Unavailable

_BEGINNING = b'[{"success":true,"results":'
_META = b',"meta":{'
# More than the storage writes behind the rows, which is figures alone.
_TAIL_BYTES = 4096
_CUT_OFF = "the project's storage ended while it worked on this; try again"
_read_at = json.JSONDecoder().raw_decode
_FIGURES = {
    "changes": "changes",
    "last_row_id": "last_row_id",
    "rows_read": "rows_read",
    "rows_written": "rows_written",
    "size_bytes": "size_after",
}


def is_rows(answer: bytes) -> bool:
    """Whether an answer, or its beginning, is one of rows."""
    return answer.startswith(_BEGINNING)


def meta_of(answer: bytes) -> dict[str, Any]:
    """The figures at the end of an answer. Raises Unavailable for one that is cut off."""
    _, found, rest = answer.rpartition(_META)
    if not found or not rest.endswith(b"}]"):
        raise Unavailable(_CUT_OFF)
    meta: dict[str, Any] = json.loads(b"{" + rest[:-2])
    return meta


def rows_in(answer: str) -> Iterator[Iterator[Any]]:
    """The rows of each result of a batch that was asked for lists, one at a time: nothing else runs while JSON is read.

    The rows of one are read to their end before the next. Raises Unavailable for an answer that is cut off.
    """
    return _Batch(answer).results()


class _Batch:
    def __init__(self, answer: str) -> None:
        self._text = answer
        self._at = 0

    def results(self) -> Iterator[Iterator[Any]]:
        self._pass("[")
        while not self._has("]"):
            self._pass('{"success":true,"results":{"columns":')
            self._value()
            self._pass(',"rows":[')
            yield self._rows()
            self._pass('},"meta":')
            self._value()
            self._pass("}")
            self._has(",")

    def _rows(self) -> Iterator[Any]:
        while not self._has("]"):
            yield self._value()
            self._has(",")

    def _value(self) -> Any:
        try:
            value, self._at = _read_at(self._text, self._at)
        except ValueError as exc:
            raise Unavailable(_CUT_OFF) from exc
        return value

    def _has(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _pass(self, text: str) -> None:
        if not self._has(text):
            raise Unavailable(_CUT_OFF)


async def passed_on(answer: AsyncIterator[bytes], *, arrays: bool) -> AsyncIterator[bytes]:
    """`{"rows": […], "changes": …, …}` of an answer with rows; with `arrays`, `columns` stands before `rows`."""
    # As arrays, what the storage tells is an object already: `{"columns": […], "rows": […]}`.
    begun, held = b"" if arrays else b'{"rows":', b""
    skipped = False
    async for part in answer:
        held += part
        if not skipped:
            if len(held) < len(_BEGINNING):
                continue
            held, skipped = held[len(_BEGINNING) :], True
        if len(held) > 2 * _TAIL_BYTES:
            yield begun + held[:-_TAIL_BYTES]
            begun, held = b"", held[-_TAIL_BYTES:]
    meta = meta_of(held)
    rows = held.rpartition(_META)[0]
    figures = json.dumps({ours: meta.get(theirs, 0) for ours, theirs in _FIGURES.items()}, separators=(",", ":"))
    # Behind an object of columns and rows, its last brace makes way for the figures.
    yield begun + (rows[:-1] if arrays else rows) + b"," + figures[1:].encode()

"""What commands print: JSON for programs, tables for people at a terminal, and lines with tabs for pipes."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import IO, TYPE_CHECKING, Any

from msgspec import Struct

from isolet.cli import shown

if TYPE_CHECKING:
    from isolet.contract.models import Model, Page

# The name of a member, or what is made of the item.
Cell = str | Callable[[Any], object]
_PAGE = 200


class Output(Struct, frozen=True):
    as_json: bool

    @property
    def is_terminal(self) -> bool:
        return sys.stdout.isatty()

    @property
    def has_colour(self) -> bool:
        return self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def items(self, found: Iterable[Any], columns: Mapping[str, Cell]) -> None:
        """A list: one JSON value, or a row for each with these columns."""
        if self.as_json:
            self._array(found)
        else:
            readers = [attrgetter(cell) if isinstance(cell, str) else cell for cell in columns.values()]
            self.rows(list(columns), ([read(item) for read in readers] for item in found))

    def rows(self, names: Sequence[str], found: Iterable[Sequence[object]]) -> None:
        """Rows of a query, whose columns have these names."""
        if self.is_terminal:
            _table(names, found)
        else:
            for row in found:
                self.line("\t".join(shown.line(text_of(cell)) for cell in row))

    def item(self, found: Model, *, rows: Mapping[str, object] | None = None) -> None:
        """One thing: its JSON, or a line for each of its members, or of `rows`."""
        if self.as_json:
            self.value(found.to_json())
            return
        members = found.to_json() if rows is None else rows
        width = max((len(name) for name in members), default=0) if self.is_terminal else 0
        for name, value in members.items():
            text = shown.line(text_of(value))
            self.line(f"{shown.line(name).ljust(width)}  {text}" if self.is_terminal else f"{shown.line(name)}\t{text}")

    def value(self, value: Any) -> None:
        """JSON, indented at a terminal."""
        self.line(shown.as_json(value, 2 if self.is_terminal else None))

    def event(self, value: Any, text: str) -> None:
        """One of a stream: JSON on a line, or text."""
        self.line(shown.as_json(value) if self.as_json else text)
        sys.stdout.flush()

    def done(self, value: Any, text: str) -> None:
        """What a command did: JSON, or a sentence."""
        if self.as_json:
            self.value(value)
        else:
            self.line(shown.lines(text))

    def line(self, text: str) -> None:
        """Text that is safe to show."""
        sys.stdout.write(_encodable(text) + "\n")

    def _array(self, found: Iterable[Model]) -> None:
        """Written as it comes, since a list has no bound."""
        before = "["
        for item in found:
            sys.stdout.write(before + shown.as_json(item.to_json()))
            before = ",\n "
        sys.stdout.write("]\n" if before != "[" else "[]\n")


def _encodable(text: str) -> str:
    """With escapes for letters that standard output has no bytes for."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def note(text: str) -> None:
    """Beside the output, for people."""
    sys.stderr.write(shown.lines(text) + "\n")


def text_of(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else shown.as_json(value)


def paged(fetch: Callable[[int, str | None], Page[Any]], limit: int | None) -> Iterator[Any]:
    """The first `limit` items of a list, None for all; `fetch` gets a page's size and cursor."""
    cursor, left = None, limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(left, _PAGE)
        page = fetch(size, cursor)
        yield from page.data[:size]
        cursor = page.next_cursor
        if cursor is None:
            return
        left = None if left is None else left - len(page.data)
    if sys.stderr.isatty():
        note(f"These are the first {limit}. --all shows the rest.")


def binary(content: Iterable[bytes], out: IO[bytes] | None = None) -> None:
    """Bytes as they are. A terminal gets them as text, without what it would obey."""
    if out is not None or not sys.stdout.isatty():
        file = out or sys.stdout.buffer
        for part in content:
            file.write(part)
        file.flush()
        return
    _as_text(content)


def _as_text(content: Iterable[bytes]) -> None:
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    last = "\n"
    for part in itertools.chain(content, [b""]):
        text = shown.lines(decoder.decode(part, not part))
        sys.stdout.write(_encodable(text))
        last = text[-1:] or last
    if last != "\n":
        sys.stdout.write("\n")


def _table(names: Iterable[str], rows: Iterable[Sequence[object]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in names:
        table.add_column(Text(shown.line(name)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown.line(text_of(cell))) for cell in row))
    Console(file=sys.stdout).print(table)

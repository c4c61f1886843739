"""Rows of a query as the page shows them."""

from __future__ import annotations

import pytest

from isolet.client.errors import UnexpectedReply
from isolet.dashboard.pages.sql import Rows

_FIGURES = '"changes":0,"last_row_id":0,"rows_read":2,"rows_written":0,"size_bytes":4096}'


def test_rows_are_read_one_at_a_time_and_what_follows_them_last() -> None:
    rows = Rows(('{"columns":["a","b"],"rows":[[1,"x]"],[null,[1,2]]],' + _FIGURES).encode())
    assert (rows.columns, rows.figures) == (["a", "b"], {})
    assert list(rows) == [[1, "x]"], [None, [1, 2]]]
    assert rows.figures["size_bytes"] == 4096
    nothing = Rows(('{"columns":[],"rows":[],' + _FIGURES).encode())
    assert (list(nothing), nothing.figures["changes"]) == ([], 0)


@pytest.mark.parametrize(
    "text", ["", '{"columns":["a', '{"columns":["a"],"rows":[[1],[2', '{"columns":[],"rows":[[1]]']
)
def test_a_reply_that_broke_off_is_an_error(text: str) -> None:
    with pytest.raises(UnexpectedReply):
        list(Rows(text.encode()))


def test_the_rows_before_the_break_have_been_read_by_then() -> None:
    rows = iter(Rows(b'{"columns":["a"],"rows":[[1],[2],[broken'))
    assert [next(rows), next(rows)] == [[1], [2]]
    with pytest.raises(UnexpectedReply):
        next(rows)

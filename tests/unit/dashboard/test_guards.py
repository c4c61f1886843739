"""Which cookies of a request are the session's."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from isolet.dashboard.guards import session_tokens

OURS, THEIRS = "o" * 43, "t" * 43


def tokens(*cookies: str) -> list[str]:
    headers = [(b"cookie", cookie.encode()) for cookie in cookies]
    return session_tokens(Request({"type": "http", "headers": headers}))


@pytest.mark.parametrize(
    "cookie",
    [
        f"isolet_session={OURS}",
        f"a=1; isolet_session={OURS}; b=2",
        f"a=1;isolet_session={OURS}",
        f"a=1 ; isolet_session={OURS} ;b",
    ],
)
def test_the_sessions_cookie_is_found_beside_others(cookie: str) -> None:
    assert tokens(cookie) == tokens("a=1", cookie) == [OURS]


@pytest.mark.parametrize("before", ["a=1 ", "a=1, ", "a=1,", "a= ", "a=\t", "a=", "x"])
def test_the_value_of_another_cookie_is_no_session(before: str) -> None:
    """A function may set such a cookie: whoever has it would act for somebody else in the dashboard."""
    assert tokens(f"{before}isolet_session={THEIRS}; isolet_session={OURS}") == [OURS]
    assert tokens(f"{before}isolet_session={THEIRS}") == []

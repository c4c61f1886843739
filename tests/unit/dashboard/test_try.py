"""The request that *Try it* makes of what was typed."""

from __future__ import annotations

import pytest

from isolet.dashboard.pages.function_try import _headers, _text
from isolet.errors import InvalidInput


def test_headers_are_one_a_line_and_ours_stay_ours() -> None:
    typed = "Accept: text/plain\r\n\n X-One:1\nHost: evil\nX-API-Key: stolen\nAuthorization: Bearer x\n"
    assert _headers(typed) == [
        (b"accept", b"text/plain"),
        (b"x-one", b"1"),
        (b"content-type", b"application/json"),
    ]
    assert _headers("Content-Type: text/plain") == [(b"content-type", b"text/plain")]


@pytest.mark.parametrize("line", ["no colon", "A B: c", "A: \u0100", ": x", "A: b\x00c"])
def test_what_is_no_header_is_refused(line: str) -> None:
    with pytest.raises(InvalidInput, match="is no header"):
        _headers(line)


def test_a_reply_is_text_or_base64() -> None:
    assert _text("größe".encode()) == ("größe", "text")
    assert _text("größe".encode()[:3]) == ("gr", "text")
    assert _text(b"\xff\xfe" + b"x" * 10) == ("//54eHh4eHh4eHh4", "base64")


@pytest.mark.parametrize("text", ["a:b\n" * 200_000, "a: " + "b" * 70_000, "a:b\n" * 201])
def test_headers_that_no_head_has_room_for_are_not_read(text: str) -> None:
    with pytest.raises(InvalidInput, match="There may be 200 headers"):
        _headers(text)

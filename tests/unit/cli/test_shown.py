from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from isolet.cli import shown

# Lone surrogates too.
TEXT = st.text(st.characters(codec=None, categories=None))


@given(TEXT)
def test_a_line_is_one_line_of_what_can_be_seen(text: str) -> None:
    line = shown.line(text)
    assert len(line.splitlines()) <= 1
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in line)
    line.encode()


@given(TEXT)
def test_lines_keep_their_breaks_and_nothing_else_that_a_terminal_obeys(text: str) -> None:
    lines = shown.lines(text)
    assert lines.count("\n") == text.count("\n")
    assert not any((ord(char) < 32 or 127 <= ord(char) < 160) and char not in "\n\t" for char in lines)


@given(TEXT)
def test_json_is_printable_ascii_and_means_the_same(text: str) -> None:
    written = shown.as_json([text])
    assert written.isascii()
    assert written.isprintable()
    assert json.loads(written) == [text]


def test_letters_of_any_alphabet_stay_and_what_turns_their_order_around_does_not() -> None:
    assert shown.line("ß 東京\u3000नमस्\u200dते") == "ß 東京\u3000नमस्\u200dते"
    assert shown.line("a\u202eb\u2066") == "a\\u202eb\\u2066"
    assert shown.line("\x1b[2J\r\n\x7f") == "\\u001b[2J\\r\\n\\u007f"

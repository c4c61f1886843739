"""Stored JSON with large texts is read as any other."""

from __future__ import annotations

import json
import random

import pytest

from isolet.domain import json_reading
from isolet.domain.json_reading import read_stored
from isolet.domain.json_writing import write_stored

VALUES = [
    {"entry": "a", "files": {"a": "\n" * 500, "b": {"base64": "QUJD" * 90}, "": ""}},
    {"a": '"\\\\"' * 100, "b": "\x00\x1f\x7f/é€" * 50, "c": "😀" * 100, "d": "\ud83d" * 50 + "\ude00"},
    ["x" * 300, {"y": [1, 2.5, -1, None, True, {"z": "w" * 300}]}],
    "plain" * 100,
    {},
    {"a": {}, "b": [], "c": 12345678901234567890123},
]


@pytest.mark.parametrize("piece", [13, 14, 17, 64])
@pytest.mark.parametrize("value", VALUES)
def test_what_was_written_is_read_again(monkeypatch: pytest.MonkeyPatch, piece: int, value: object) -> None:
    monkeypatch.setattr(json_reading, "_PIECE_CHARS", piece)
    for text in (write_stored(value), json.dumps(value), json.dumps(value, indent=1), json.dumps(value).encode()):
        assert read_stored(text) == json.loads(text)


def test_pieces_end_where_any_text_may_be_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = random.Random(7)
    letters = ["a", '"', "\\", "\n", "\x01", "é", "😀", "\ud83d", "\ude00", "u", "/"]
    for _ in range(300):
        monkeypatch.setattr(json_reading, "_PIECE_CHARS", chosen.randint(13, 40))
        value = {"t": "".join(chosen.choices(letters, k=chosen.randint(0, 80)))}
        for ascii_only in (True, False):
            text = json.dumps(value, ensure_ascii=ascii_only)
            assert read_stored(text) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    ['{"a": "b', '{"a" "b"}', '{"a":"b",}', '{"a":"\\u12"}', '{"a":"b"} x', '"a" "b"', "{", '{"a', '"\\'],
    ids=repr,
)
def test_what_is_no_json_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(json_reading, "_PIECE_CHARS", 1)
    with pytest.raises(ValueError):  # noqa: PT011 – the reader's own words
        read_stored(text)

"""JSON with large texts is written in pieces, and reads as if it had been written at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolet.domain import json_writing
from isolet.domain.json_writing import write_json, write_stored

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=10,
)


@given(VALUES, st.text(st.characters(), max_size=300))
def test_it_reads_as_what_was_written(value: Any, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_writing, "_PIECE_CHARS", 7)
        for one in (value, {"entry": text, "files": {"a": text, "b": {"base64": text}, "c": value}}, [text * 3]):
            assert json.loads(write_json(one)) == json.loads(write_stored(one)) == one
            assert write_json(one).isascii()


@pytest.mark.parametrize("write", [write_json, write_stored])
def test_no_call_of_the_writer_gets_more_than_a_piece(
    write: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = 0
    dumps = json.dumps

    def measured(value: Any, **options: Any) -> str:
        nonlocal longest
        written = dumps(value, **options)
        longest = max(longest, len(written))
        return written

    monkeypatch.setattr(json_writing.json, "dumps", measured)
    value = {"entry": "a.ts", "files": {f"{n}.ts": "\u00e9" * 1_000_000 for n in range(3)}}
    assert dumps(value, separators=(",", ":")) == write(value)
    assert longest < 2_000_000


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json({"a": "x" * 300_000, "b": float("nan")})

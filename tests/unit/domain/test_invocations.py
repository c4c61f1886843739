import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolet.domain.functions import is_storable
from isolet.domain.invocations import cut_body, cut_error, storable


@pytest.mark.parametrize("size", [0, 511, 512])
def test_a_short_error_is_kept_whole(size: int) -> None:
    assert cut_error("é" * size) == "é" * size


def test_a_long_error_is_cut() -> None:
    assert cut_error("é" * 513) == "é" * 512


@pytest.mark.parametrize(
    ("size", "kept", "truncated"),
    [(0, 0, False), (16_384, 16_384, False), (16_385, 16_384, True)],
)
def test_a_body_is_kept_up_to_16_kib(size: int, kept: int, truncated: bool) -> None:
    assert cut_body(b"x" * size) == (b"x" * kept, truncated)


@pytest.mark.parametrize(
    ("text", "stored"),
    [("plain é 😀", "plain é 😀"), ("a\ud800b", "a\ufffdb"), ("a\x00b", "a\ufffdb"), ("\udfff" * 600, "\ufffd" * 512)],
)
def test_an_error_can_be_stored_whatever_was_thrown(text: str, stored: str) -> None:
    assert cut_error(text) == stored


@given(st.text())
def test_text_becomes_storable_in_its_length(text: str) -> None:
    kept = storable(text)
    assert is_storable(kept)
    assert len(kept) == len(text)
    assert kept == text or not is_storable(text)

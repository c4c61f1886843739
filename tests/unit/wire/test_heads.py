import pytest

from isolet.errors import InvalidHead
from isolet.wire import heads


def test_a_request_is_written_as_it_was_given() -> None:
    lines = heads.lines([(b"host", b"a.test"), (b"x-empty", b""), (b"x-latin", b"caf\xe9")])
    assert heads.request(b"POST", b"/a?b", lines) == (
        b"POST /a?b HTTP/1.1\r\nhost: a.test\r\nx-empty: \r\nx-latin: caf\xe9\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("status", "line"), [(101, b"101 Switching Protocols"), (404, b"404 Not Found"), (599, b"599 "), (299, b"299 ")]
)
def test_a_reply_is_written_with_the_standard_phrase_or_none(status: int, line: bytes) -> None:
    assert heads.reply(status, [heads.line(b"a", b"b")]) == b"HTTP/1.1 " + line + b"\r\na: b\r\n\r\n"


@pytest.mark.parametrize("status", [0, 99, 1000, -200])
def test_what_is_no_status_is_refused(status: int) -> None:
    with pytest.raises(InvalidHead):
        heads.reply(status, [])


@pytest.mark.parametrize("odd", [b"\r\n", b"\r", b"\n", b"\0", b"\n\r", b"\r\n\r\nGET / HTTP/1.1\r\n"])
@pytest.mark.parametrize("place", ["name", "value", "target", "method"])
def test_line_breaks_and_nul_are_refused_wherever_they_stand(place: str, odd: bytes) -> None:
    parts = {"name": b"x-a", "value": b"b", "target": b"/", "method": b"GET"}
    for text in (odd, b"a" + odd, odd + b"a", b"a" + odd + b"b"):
        told = {**parts, place: text}
        with pytest.raises(InvalidHead):
            heads.request(told["method"], told["target"], [heads.line(told["name"], told["value"])])
    if place in ("name", "value"):
        with pytest.raises(InvalidHead):
            heads.reply(200, [heads.line(told["name"], told["value"])])


@pytest.mark.parametrize(("method", "target"), [(b"GET", b"/a b"), (b"GET /", b"/"), (b"", b"/"), (b"GET", b"")])
def test_a_request_line_has_three_words(method: bytes, target: bytes) -> None:
    with pytest.raises(InvalidHead):
        heads.request(method, target, [])

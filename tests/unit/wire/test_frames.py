"""Where the frames of a WebSocket end, however the bytes come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolet.wire.frames import Frames, close_frame

TEXT, BINARY, CONTINUED, PING = 0x81, 0x82, 0x00, 0x89


def frame(first: int, size: int, *, masked: bool) -> bytes:
    mask = 0x80 if masked else 0
    if size < 126:
        length = bytes((mask | size,))
    elif size < 65_536:
        length = bytes((mask | 126,)) + size.to_bytes(2, "big")
    else:
        length = bytes((mask | 127,)) + size.to_bytes(8, "big")
    # A payload of bytes that look like frames that close.
    return bytes((first,)) + length + (b"\x88\x88\x88\x88" if masked else b"") + b"\x88" * size


frames = st.builds(
    frame, st.sampled_from([TEXT, BINARY, CONTINUED, PING]), st.sampled_from([0, 1, 125, 126, 300, 65_536]),
    masked=st.booleans(),
)  # fmt: skip


@given(st.lists(frames, min_size=1, max_size=5), st.data())
def test_a_boundary_is_found_wherever_the_bytes_are_cut(sent: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    ends = {sum(map(len, sent[:count])) for count in range(len(sent) + 1)}
    follower = Frames()

    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        assert follower.follow(stream[start:end]) == end - start
        assert follower.at_boundary == (end in ends)

    assert not follower.closed


@given(frames, frames)
def test_the_end_of_the_first_frame_is_told(first: bytes, second: bytes) -> None:
    follower = Frames()
    assert follower.follow(first[:-1]) == len(first) - 1

    assert follower.follow(first[-1:] + second, to_boundary=True) == 1


@pytest.mark.parametrize("masked", [True, False])
def test_a_close_is_seen_and_made(masked: bool) -> None:
    follower = Frames()
    closing = close_frame(1012, "restarting", masked=masked)

    follower.follow(frame(TEXT, 3, masked=masked) + closing)

    assert follower.closed
    assert follower.at_boundary
    assert closing[-12:] == b"\x03\xf4restarting"


class CountsHeads(Frames):
    """How many heads took a look of their own, which is ten times the work."""

    heads = 0

    def _read_head(self, data: bytes) -> int:
        self.heads += 1
        return super()._read_head(data)


@pytest.mark.parametrize("masked", [True, False])
@given(sizes=st.lists(st.sampled_from([0, 1, 125, 126, 300]), max_size=30))
def test_of_many_short_frames_few_heads_are_looked_at_by_themselves(masked: bool, sizes: list[int]) -> None:
    short = frame(PING, 0, masked=masked) * 2_000
    follower = CountsHeads()

    follower.follow(short + b"".join(frame(BINARY, size, masked=masked) for size in sizes) + short)

    assert follower.at_boundary
    assert follower.heads <= len(sizes) + 10
    assert not follower.closed
    follower.follow(close_frame(1000, "", masked=masked) + short)
    assert follower.closed

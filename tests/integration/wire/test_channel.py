import asyncio
from pathlib import Path

import pytest

from isolet.errors import FunctionCrashed, FunctionTimeout
from isolet.spread import IN_A_TURN
from isolet.wire.channel import Channel, Connection
from isolet.wire.crowd import AT_ONCE
from tests.support.loop_turns import LoopTurns
from tests.support.peer import Listener, Peer

GET = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def begin(channel: Channel, data: bytes = GET, *, without_body: bool = False) -> Connection:
    connection = await channel.connect()
    connection.begin(data, without_body=without_body)
    return connection


async def read(connection: Connection) -> tuple[int, bytes]:
    """Status and body of the reply; fails instead of waiting for ever."""
    async with asyncio.timeout(60):
        await connection.head()
        body = b""
        while chunk := await connection.chunk():
            body += chunk
    return connection.status, body


async def exchange(channel: Channel, listener: Listener) -> Peer:
    """A good exchange on a new connection, which is then idle."""
    connection = await begin(channel)
    peer = await listener.accept()
    await peer.answer(OK)
    assert await read(connection) == (200, b"ok")
    channel.release(connection)
    return peer


async def test_a_request_goes_out_as_it_is_and_its_reply_comes_back(channel: Channel, listener: Listener) -> None:
    connection = await begin(channel, b"POST /a?b HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody")
    peer = await listener.accept()
    assert await peer.head() == b"POST /a?b HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\n"
    assert await peer.exactly(4) == b"body"
    peer.writer.write(b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 3\r\nX-A: 1\r\nX-a: 2\r\n\r\ntea")

    assert await read(connection) == (418, b"tea")
    assert connection.headers == [(b"content-length", b"3"), (b"x-a", b"1"), (b"x-a", b"2")]


@pytest.mark.parametrize(
    ("reply", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, b""),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", 200, b"abcde"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-trailer: 1\r\n\r\n", 200, b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", 304, b""),
    ],
)
async def test_every_kind_of_body_ends_and_leaves_the_connection_usable(
    channel: Channel, listener: Listener, reply: bytes, status: int, body: bytes
) -> None:
    connection = await begin(channel)
    peer = await listener.accept()
    await peer.answer(reply)
    assert await read(connection) == (status, body)
    assert connection.reusable
    channel.release(connection)

    again = await begin(channel)
    await peer.answer(OK)
    assert await read(again) == (200, b"ok")
    assert (again, listener.count) == (connection, 1)


async def test_a_reply_arrives_in_any_pieces(channel: Channel, listener: Listener) -> None:
    connection = await begin(channel)
    peer = await listener.accept()
    await peer.head()
    reply = b"HTTP/1.1 200 OK\r\nx-long: abcdef\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

    async def trickle() -> None:
        for number in range(len(reply)):
            peer.writer.write(reply[number : number + 1])
            await peer.writer.drain()
            await asyncio.sleep(0)

    sending = asyncio.ensure_future(trickle())
    assert await read(connection) == (200, b"hello")
    await sending
    assert (b"x-long", b"abcdef") in connection.headers


async def test_the_head_is_there_before_the_body(channel: Channel, listener: Listener) -> None:
    connection = await begin(channel)
    peer = await listener.accept()
    await peer.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
    await connection.head()
    waiting = asyncio.ensure_future(connection.chunk())
    await asyncio.sleep(0)
    assert (connection.status, connection.complete, waiting.done()) == (200, False, False)

    peer.writer.write(b"ok")
    async with asyncio.timeout(60):
        assert await waiting == b"ok"
        assert await connection.chunk() == b""


async def test_a_reply_to_head_has_no_body_whatever_length_it_names(channel: Channel, listener: Listener) -> None:
    connection = await begin(channel, b"HEAD / HTTP/1.1\r\n\r\n", without_body=True)
    peer = await listener.accept()
    await peer.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    assert await read(connection) == (200, b"")
    assert (b"content-length", b"1000") in connection.headers

    channel.release(connection)
    await exchange(channel, listener)
    assert listener.count == 2


async def test_connections_are_used_again_newest_first(channel: Channel, listener: Listener) -> None:
    older, newer = await begin(channel), await begin(channel)
    for _ in range(2):
        await (await listener.accept()).answer(OK)
    for connection in (older, newer):
        assert await read(connection) == (200, b"ok")
        channel.release(connection)

    assert await channel.connect() is newer
    assert await channel.connect() is older
    assert (older.uses, newer.uses, listener.count) == (1, 1, 2)


async def test_a_fresh_connection_can_be_asked_for(channel: Channel, listener: Listener) -> None:
    await exchange(channel, listener)
    assert (await channel.connect(fresh=True)).uses == 0
    await listener.accept()
    assert listener.count == 2


async def test_a_connection_that_was_idle_for_long_is_not_used_again(channel: Channel, listener: Listener) -> None:
    peer = await exchange(channel, listener)
    idle = await channel.connect()
    channel.release(idle)
    idle.idle_since -= 5.0
    connection = await begin(channel)
    await (await listener.accept()).answer(OK)
    assert await read(connection) == (200, b"ok")
    assert await peer.rest() == b""


async def test_a_connection_that_the_instance_closed_while_idle_is_not_used_again(
    channel: Channel, listener: Listener
) -> None:
    peer = await exchange(channel, listener)
    idle = await channel.connect()
    channel.release(idle)
    await peer.close()
    async with asyncio.timeout(60):
        while not idle.lost:
            await asyncio.sleep(0)
    await exchange(channel, listener)
    assert listener.count == 2


async def test_a_reply_that_says_close_is_the_connections_last(channel: Channel, listener: Listener) -> None:
    connection = await begin(channel)
    peer = await listener.accept()
    await peer.answer(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
    assert await read(connection) == (200, b"ok")
    assert not connection.reusable
    channel.release(connection)
    assert await peer.rest() == b""


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n"])
async def test_an_instance_that_closes_before_its_head_is_told(
    channel: Channel, listener: Listener, sent: bytes
) -> None:
    connection = await begin(channel)
    peer = await listener.accept()
    await peer.answer(sent)
    await peer.close()
    with pytest.raises(ConnectionResetError, match="the instance closed the connection"):
        await read(connection)
    channel.release(connection)
    assert not connection.reusable


@pytest.mark.parametrize("head", [b"content-length: 5\r\n\r\nabc", b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"])
async def test_a_body_that_breaks_off_is_not_taken_for_whole(channel: Channel, listener: Listener, head: bytes) -> None:
    connection = await begin(channel)
    peer = await listener.accept()
    await peer.answer(b"HTTP/1.1 200 OK\r\n" + head)
    async with asyncio.timeout(60):
        await connection.head()
        assert await connection.chunk() == b"abc"
        await peer.close()
        with pytest.raises(ConnectionResetError, match="the instance closed the connection"):
            await connection.chunk()


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_garbage_is_a_crash_and_cuts_the_connection(channel: Channel, listener: Listener, garbage: bytes) -> None:
    connection = await begin(channel)
    peer = await listener.accept()
    await peer.answer(garbage)
    with pytest.raises(FunctionCrashed, match="the instance sent a reply that cannot be read"):
        await read(connection)
    assert await peer.rest() == b""


async def test_nobody_listening_is_a_crash(tmp_path: Path) -> None:
    channel = Channel(str(tmp_path / "nobody"))
    with pytest.raises(FunctionCrashed, match=r"^the instance does not take connections$"):
        await channel.connect()


async def test_an_exchange_can_be_ended_from_outside(channel: Channel, listener: Listener) -> None:
    connection = await begin(channel)
    peer = await listener.accept()
    await peer.head()
    waiting = asyncio.ensure_future(connection.head())
    await asyncio.sleep(0)

    connection.abort(FunctionTimeout(timeout_ms=5))
    connection.abort(RuntimeError("a later reason does not count"))

    with pytest.raises(FunctionTimeout):
        await waiting
    assert await peer.rest() == b""
    with pytest.raises(FunctionTimeout):
        connection.begin(GET)


async def test_an_exchange_that_is_given_up_is_cut(channel: Channel, listener: Listener) -> None:
    connection = await begin(channel)
    peer = await listener.accept()
    await peer.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nsome")
    await connection.head()
    channel.release(connection)
    assert await peer.rest() == b""
    assert await connection.chunk() == b"some"
    with pytest.raises(ConnectionAbortedError, match="the exchange was given up"):
        await connection.chunk()


async def test_a_slow_reader_holds_the_instance_back_and_loses_nothing(channel: Channel, listener: Listener) -> None:
    size = 16 * 1024 * 1024
    block = bytes(range(256)) * 256
    connection = await begin(channel)
    peer = await listener.accept()
    sent = 0

    async def send() -> None:
        nonlocal sent
        await peer.answer(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while sent < size:
            peer.writer.write(block)
            await peer.writer.drain()
            sent += len(block)

    sending = asyncio.ensure_future(send())
    async with asyncio.timeout(60):
        await connection.head()
        while not connection._paused:
            await asyncio.sleep(0)
        # What the kernel and both ends hold is little, however long nobody reads.
        held = -1
        while held != sent:
            held = sent
            for _ in range(1_000):
                await asyncio.sleep(0)
    assert sent < 4 * 1024 * 1024
    assert not sending.done()

    received = 0
    async with asyncio.timeout(60):
        while chunk := await connection.chunk():
            assert chunk[:1] == bytes([received % 256])
            received += len(chunk)
        await sending
    assert received == size
    assert connection.reusable


async def test_a_slow_instance_holds_the_writer_back(channel: Channel, listener: Listener) -> None:
    block = b"x" * 65_536
    connection = await begin(channel, b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
    peer = await listener.accept()
    await peer.head()
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    written = 0

    async def write() -> None:
        nonlocal written
        for _ in range(256):
            await connection.write(block)
            written += 1

    writing = asyncio.ensure_future(write())
    async with asyncio.timeout(60):
        before = -1
        while before != written or written == 0:
            before = written
            for _ in range(1_000):
                await asyncio.sleep(0)
    assert 0 < written < 128
    assert not writing.done()

    peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert len(await peer.exactly(256 * len(block))) == 256 * len(block)
    async with asyncio.timeout(60):
        await writing


async def test_a_writer_is_not_held_by_a_connection_that_is_gone(channel: Channel, listener: Listener) -> None:
    connection = await begin(channel, b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
    peer = await listener.accept()
    await peer.head()
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]

    async def write() -> None:
        while True:
            await connection.write(b"x" * 65_536)

    writing = asyncio.ensure_future(write())
    for _ in range(1_000):
        await asyncio.sleep(0)
    peer.writer.transport.abort()
    async with asyncio.timeout(60):
        with pytest.raises(ConnectionResetError):
            await writing


async def test_a_reply_that_nobody_read_does_not_stop_the_next_exchange(channel: Channel, listener: Listener) -> None:
    body = b"x" * 400_000
    connection = await begin(channel)
    peer = await listener.accept()
    await peer.answer(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    async with asyncio.timeout(60):
        while not connection.complete:
            await asyncio.sleep(0)
    channel.release(connection)

    again = await begin(channel)
    peer = peer if again is connection else await listener.accept()
    await peer.answer(OK)
    assert await read(again) == (200, b"ok")


async def test_closing_closes_idle_connections_and_keeps_no_others(channel: Channel, listener: Listener) -> None:
    idle = await exchange(channel, listener)
    busy = await begin(channel)
    assert listener.count == 1
    await idle.answer(OK)
    assert await read(busy) == (200, b"ok")

    channel.close()
    channel.release(busy)

    assert await idle.rest() == b""


async def test_a_connection_that_is_gone_is_not_asked_what_was_read_of_it(channel: Channel, listener: Listener) -> None:
    connection = await begin(channel)
    peer = await listener.accept()
    connection.abort(ConnectionResetError("over"))
    assert not connection.unread
    async with asyncio.timeout(60):
        await peer.reader.read()
        while not connection.lost:
            await asyncio.sleep(0)
    assert not connection.unread


@pytest.mark.parametrize("ends", ["replied", "closed"])
async def test_many_replies_at_once_are_told_of_in_several_turns_of_the_loop(tmp_path: Path, ends: str) -> None:
    count, turns = 200, LoopTurns()
    writers: list[asyncio.StreamWriter] = []
    channel = Channel(str(tmp_path / "many"))

    async def call() -> int:
        connection = await begin(channel)
        try:
            return (await read(connection))[0]
        except ConnectionResetError:
            return 0
        finally:
            turns.note("told")

    server = await asyncio.start_unix_server(lambda _, writer: writers.append(writer), tmp_path / "many", backlog=count)
    async with asyncio.timeout(60), server:
        calls = [asyncio.ensure_future(call()) for _ in range(count)]
        while len(writers) < count:
            await asyncio.sleep(0)
        for writer in writers:
            if ends == "replied":
                writer.write(OK)
            writer.close()
        assert set(await asyncio.gather(*calls)) == {200 if ends == "replied" else 0}
    turns.end()
    assert turns.most("told") <= AT_ONCE + IN_A_TURN

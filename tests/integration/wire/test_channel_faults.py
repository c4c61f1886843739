"""What the other side of a connection does wrong, or early: nothing of it reaches another exchange."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from isolet.errors import FunctionCrashed
from isolet.wire.channel import Channel, Connection, Unread
from tests.support.peer import Listener, Peer

GET = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
STRAY = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray"


def socket_of(peer: Peer) -> socket.socket:
    """The socket itself: what a transport is told to do waits for the loop, which would see its effect as well."""
    return socket.socket(fileno=os.dup(peer.writer.get_extra_info("socket").fileno()))


def shut(peer: Peer, how: int) -> None:
    with socket_of(peer) as raw:
        raw.shutdown(how)


async def read(connection: Connection) -> tuple[int, bytes]:
    async with asyncio.timeout(10):
        await connection.head()
        body = b""
        while chunk := await connection.chunk():
            body += chunk
    return connection.status, body


async def idle(channel: Channel, listener: Listener, reply: bytes = OK) -> tuple[Connection, Peer]:
    """A connection after a good exchange, and its other side."""
    connection = await channel.connect()
    connection.begin(GET)
    peer = await listener.accept()
    await peer.answer(reply)
    assert await read(connection) == (200, b"ok")
    channel.release(connection)
    return connection, peer


async def assert_next_is_served(channel: Channel, listener: Listener) -> None:
    """The next exchange goes over another connection and gets its own reply."""
    connection = await channel.connect()
    connection.begin(GET)
    await (await listener.accept()).answer(OK)
    assert await read(connection) == (200, b"ok")
    assert listener.count == 2


@pytest.mark.parametrize("stray", [STRAY, b"H", b"\r\n", b"\0"])
@pytest.mark.parametrize("seen", [True, False], ids=["seen", "not seen yet"])
async def test_bytes_on_an_idle_connection_are_its_end(
    channel: Channel, listener: Listener, stray: bytes, seen: bool
) -> None:
    connection, peer = await idle(channel, listener)
    with socket_of(peer) as raw:
        assert raw.send(stray) == len(stray)
    if seen:
        async with asyncio.timeout(10):
            while not connection.lost:
                await asyncio.sleep(0)
    await assert_next_is_served(channel, listener)


@pytest.mark.parametrize("stray", [STRAY, b"H", b"nonsense"])
async def test_bytes_behind_a_reply_are_its_connections_end(channel: Channel, listener: Listener, stray: bytes) -> None:
    await idle(channel, listener, OK + stray)
    await assert_next_is_served(channel, listener)


async def test_bytes_before_a_request_are_no_reply_to_it(channel: Channel, listener: Listener) -> None:
    connection = await channel.connect()
    peer = await listener.accept()
    peer.writer.write(STRAY)
    async with asyncio.timeout(10):
        while not connection.lost:
            await asyncio.sleep(0)
        connection.begin(GET)
        with pytest.raises(Unread):
            await connection.head()


async def test_interim_replies_are_passed_over(channel: Channel, listener: Listener) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    connection, _ = await idle(channel, listener, b"HTTP/1.1 100 Continue\r\n\r\n" + early + OK)
    assert connection.headers == [(b"content-length", b"2")]
    assert await channel.connect() is connection


CHUNKED = b"HTTP/1.1 200 OK\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"


async def test_trailers_of_a_reply_become_no_headers(channel: Channel, listener: Listener) -> None:
    connection, _ = await idle(channel, listener, CHUNKED + b"x-a: 2\r\nset-cookie: c=1\r\n\r\n")
    assert connection.headers == [(b"x-a", b"1"), (b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize(
    "reply",
    [
        CHUNKED + b"x: y\r\n" * 201 + b"\r\n",
        CHUNKED + b"x: " + b"y" * 70_000 + b"\r\n\r\n",
        CHUNKED + b"x: " + b"y" * 3_000_000,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 3_000_000,
        b"HTTP/1.1 200 OK\r\n" + b"x: yyyyyyyyyyyy\r\n" * 200_000,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1_001 + b"content-length: 2\r\n\r\nok",
    ],
)
async def test_heads_and_trailers_of_replies_have_an_end(channel: Channel, listener: Listener, reply: bytes) -> None:
    connection = await channel.connect()
    connection.begin(GET)
    peer = await listener.accept()
    await peer.head()
    peer.writer.write(reply)
    with pytest.raises(FunctionCrashed):
        await read(connection)
    assert not connection.reusable


# Early answers.


@pytest.mark.parametrize("closes", ["reading", "all"])
@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_an_early_answer_is_read_though_the_request_cannot_be_sent(
    channel: Channel, listener: Listener, closes: str, size: int
) -> None:
    connection = await channel.connect()
    connection.begin(POST, more=True)
    peer = await listener.accept()
    await peer.head()
    answer = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size

    async def answering() -> None:
        if closes == "reading":
            shut(peer, socket.SHUT_RD)
        peer.writer.write(answer)
        await peer.writer.drain()
        if closes == "all":
            peer.writer.close()

    async def uploading() -> None:
        for _ in range(1000):
            await connection.write(b"10000\r\n" + b"y" * 65_536 + b"\r\n")

    answered = asyncio.ensure_future(answering())
    async with asyncio.timeout(30):
        if size < 100:
            await answered
        if closes == "reading" or size < 100:
            with pytest.raises(ConnectionResetError):
                await uploading()
        status, body = await read(connection)
        await answered
    assert (status, len(body)) == (401, size)
    assert not connection.reusable


async def test_a_large_request_whose_answer_comes_early_is_answered(channel: Channel, listener: Listener) -> None:
    connection = await channel.connect()
    connection.begin(b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 9000000\r\n\r\n" + bytes(9_000_000))
    peer = await listener.accept()
    await peer.answer(OK)
    await peer.close()
    assert await read(connection) == (200, b"ok")
    assert not connection.reusable


@pytest.mark.parametrize("more", [True, False])
async def test_a_connection_with_a_part_of_a_request_on_it_is_not_used_again(
    channel: Channel, listener: Listener, more: bool
) -> None:
    connection = await channel.connect()
    connection.begin(POST if more else POST + bytes(9_000_000), more=more)
    peer = await listener.accept()
    await peer.answer(OK)
    assert await read(connection) == (200, b"ok")
    channel.release(connection)
    await assert_next_is_served(channel, listener)


async def test_a_request_in_parts_leaves_its_connection_once_it_is_whole(channel: Channel, listener: Listener) -> None:
    connection = await channel.connect()
    connection.begin(POST, more=True)
    peer = await listener.accept()
    await connection.write(b"0\r\n\r\n")
    connection.end()
    await peer.answer(OK)
    assert await read(connection) == (200, b"ok")
    channel.release(connection)
    assert await channel.connect() is connection


# Ends of processes.


async def test_a_request_on_a_connection_that_had_ended_was_not_read(channel: Channel, listener: Listener) -> None:
    connection, peer = await idle(channel, listener)
    taken = await channel.connect()
    assert taken is connection
    # The end reaches the kernel, and no turn of the loop tells of it before the request is sent.
    shut(peer, socket.SHUT_RDWR)
    taken.begin(GET)
    async with asyncio.timeout(10):
        with pytest.raises(Unread):
            await taken.head()


@pytest.mark.parametrize("head_only", [True, False])
async def test_of_a_large_head_that_was_not_read_to_its_end_nothing_ran(
    channel: Channel, listener: Listener, head_only: bool
) -> None:
    """Of one with a body nobody can tell: that may be all that was not read."""
    connection = await channel.connect()
    peer = await listener.accept()
    peer.writer.transport.pause_reading()
    connection.begin(GET[:-2] + b"cookie: " + b"x" * 20_000 + b"\r\n\r\n", head_only=head_only)
    peer.writer.transport.abort()
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionResetError) as told:
            await connection.head()
    assert isinstance(told.value, Unread) is head_only


async def test_a_request_on_a_connection_whose_end_was_seen_was_not_read(channel: Channel, listener: Listener) -> None:
    connection, peer = await idle(channel, listener)
    taken = await channel.connect()
    shut(peer, socket.SHUT_RDWR)
    async with asyncio.timeout(10):
        while taken._transport is not None and not taken._transport.is_closing():
            await asyncio.sleep(0)
    taken.begin(GET)
    with pytest.raises(Unread):
        await taken.head()
    assert connection.lost

"""Which connections to an instance are used again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from isolet.wire.channel import Channel


def accepted(path: Path, reply: bytes, *, exchanges: int) -> int:
    """How many connections a peer that always gives `reply` saw for exchanges that follow each other."""
    count = 0

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
        writer.close()

    async def exchange(channel: Channel) -> bytes:
        connection = await channel.connect()
        connection.begin(b"GET / HTTP/1.1\r\nhost: function\r\n\r\n")
        await connection.head()
        body = b""
        while chunk := await connection.chunk():
            body += chunk
        channel.release(connection)
        return body

    async def run() -> None:
        server = await asyncio.start_unix_server(peer, path)
        channel = Channel(str(path))
        assert [await exchange(channel) for _ in range(exchanges)] == [b"ok"] * exchanges
        channel.close()
        server.close()
        await server.wait_closed()

    asyncio.run(asyncio.wait_for(run(), 60))
    return count


def test_a_reply_of_known_length_leaves_its_connection_for_the_next_exchange(tmp_path: Path) -> None:
    assert accepted(tmp_path / "socket", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", exchanges=3) == 1


def test_a_chunked_reply_leaves_its_connection_for_the_next_exchange(tmp_path: Path) -> None:
    reply = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"

    assert accepted(tmp_path / "socket", reply, exchanges=3) == 1


def test_a_reply_that_says_close_ends_its_connection(tmp_path: Path) -> None:
    reply = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"

    assert accepted(tmp_path / "socket", reply, exchanges=3) == 3

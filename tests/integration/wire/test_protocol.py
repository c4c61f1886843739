import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from isolet.spread import IN_A_TURN, Spread
from isolet.wire.connection_room import ConnectionRoom
from isolet.wire.crowd import AT_ONCE, Crowd
from isolet.wire.exchange import ON_END, BrokenReply, Exchange
from isolet.wire.protocol import WHOLE, Protocol
from isolet.wire.upgrade import EXTENSION, Upgrade
from tests.support.garbage import garbage
from tests.support.loop_turns import LoopTurns

MB = 1024 * 1024
HEAD = b"%b / HTTP/1.1\r\nhost: test\r\n%b\r\n"


SILENCE_S = 0.15


class QuickToRefuse(Protocol):
    body_timeout_s = 0.5


class Hurries(Protocol):
    body_window_s = 0.3
    body_least_bytes_s = 1000.0


class QuickToCut(Protocol):
    write_timeout_s = 0.2


class Floods:
    """Takes a connection over, and sends more than anybody takes."""

    def __init__(self) -> None:
        self.paused, self.lost = asyncio.Event(), asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        asyncio.get_running_loop().call_soon(self.transport.write, bytes(64 * MB))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()

    def pause_writing(self) -> None:
        self.paused.set()

    def data_received(self, data: bytes) -> None: ...
    def resume_writing(self) -> None: ...
    def shutdown(self) -> None: ...


@asynccontextmanager
async def listening(app: Any, kind: Callable[..., Protocol], **options: Any) -> AsyncIterator[tuple[str, int]]:
    loop = asyncio.get_running_loop()
    config = Config(app, interface="asgi3", ws="none", lifespan="off", log_config=None, **options)
    state = ServerState()
    server = await loop.create_server(lambda: kind(config, state, {}), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()  # type: ignore[union-attr]
        async with asyncio.timeout(60):
            await server.wait_closed()


async def takes_whole(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            await send({"type": WHOLE, "status": 200, "headers": [], "body": body})
            return


async def talk(address: tuple[str, int], *pieces: bytes) -> bytes:
    """Send the pieces, with a silence of the server after each that is not the last, and read until it closes."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        for piece in pieces[:-1]:
            writer.write(piece)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readuntil(b"no such text"), SILENCE_S)
        writer.write(pieces[-1])
        async with asyncio.timeout(60):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("framing", [b"content-length: 10\r\n", b"transfer-encoding: chunked\r\n"])
async def test_a_body_that_stops_coming_is_refused_and_its_connection_closed(framing: bytes) -> None:
    async with listening(takes_whole, QuickToRefuse) as address:
        reply = await talk(address, HEAD % (b"POST", framing))

    assert reply.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert reply.endswith(b'{"error": "The request\'s body did not come in time"}')
    assert reply.count(b"HTTP/1.1") == 1


async def test_a_body_that_comes_slowly_in_many_pieces_is_taken() -> None:
    head = HEAD % (b"POST", b"content-length: 4\r\nconnection: close\r\n")
    async with listening(takes_whole, QuickToRefuse) as address:
        reply = await talk(address, head, *[b"x"] * 4)

    assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
    assert reply.endswith(b"\r\n\r\nxxxx")


@pytest.mark.parametrize("framing", [b"content-length: 100000\r\n", b"transfer-encoding: chunked\r\n"])
async def test_a_body_that_comes_too_slowly_is_refused(framing: bytes) -> None:
    piece = b"1\r\nx\r\n" if b"chunked" in framing else b"x"
    async with listening(takes_whole, Hurries) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(HEAD % (b"POST", framing))
        reply = b""
        # Each waits a little for an answer; a window ends meanwhile.
        async with asyncio.timeout(30):
            while not reply:
                writer.write(piece)
                with contextlib.suppress(TimeoutError):
                    reply = await asyncio.wait_for(reader.read(65_536), 0.02)
        writer.close()

    assert reply.startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_is_read_slowly_is_taken() -> None:
    async def takes_its_time(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(3):
            # Another's work: longer than a window.
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 2 * Hurries.body_window_s)
            await receive()
        await takes_whole(scope, receive, send)

    head = HEAD % (b"POST", b"connection: close\r\ncontent-length: %d\r\n" % (16 * MB))
    async with listening(takes_its_time, Hurries) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(head + bytes(16 * MB))
        async with asyncio.timeout(30):
            reply = await reader.read()
        writer.close()

    assert reply.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "streamed"])
async def test_a_client_that_takes_nothing_of_its_reply_is_cut_off(whole: bool) -> None:
    lost = asyncio.Event()

    async def floods(scope: Any, receive: Any, send: Any) -> None:
        if whole:
            await send({"type": WHOLE, "status": 200, "headers": [], "body": bytes(64 * MB)})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not lost.is_set():
            await send({"type": "http.response.body", "body": bytes(MB), "more_body": True})

    class Tells(Protocol):
        write_timeout_s = 0.2

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.set()

    async with listening(floods, Tells) as address:
        with socket.create_connection(address) as client:
            client.sendall(HEAD % (b"GET", b""))
            async with asyncio.timeout(60):
                await lost.wait()


async def test_an_accepted_upgrade_is_not_cut_off_while_its_client_takes_nothing() -> None:
    taker = Floods()

    async def upgrades(scope: Any, receive: Any, send: Any) -> None:
        asked: Upgrade = scope["extensions"][EXTENSION]
        asked.accept([], taker)

    async with listening(upgrades, QuickToCut) as address:
        with socket.create_connection(address) as client:
            client.sendall(HEAD % (b"GET", b"connection: upgrade\r\nupgrade: websocket\r\n"))
            async with asyncio.timeout(60):
                await taker.paused.wait()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(taker.lost.wait(), 3 * QuickToCut.write_timeout_s)
            # Closed by its taker, it is a connection as any other.
            taker.transport.close()
            async with asyncio.timeout(60):
                await taker.lost.wait()


async def test_connections_over_the_number_are_refused_until_one_has_ended() -> None:
    head = HEAD % (b"POST", b"connection: close\r\ncontent-length: 0\r\n")
    async with listening(takes_whole, Protocol, limit_concurrency=1) as address:
        kept, writer = await asyncio.open_connection(*address)
        refused, other = await asyncio.open_connection(*address)
        async with asyncio.timeout(60):
            assert (await refused.read()).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            other.close()
            writer.write(head)
            assert (await kept.read()).startswith(b"HTTP/1.1 200 OK\r\n")
            writer.close()
        assert (await talk(address, head)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_connection_whose_body_goes_on_behind_its_reply_is_closed_once_it_is_silent() -> None:
    async def answers(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": WHOLE, "status": 404, "headers": [], "body": b"no"})

    async with listening(answers, Protocol, timeout_keep_alive=0.3) as address:
        reply = await talk(address, HEAD % (b"POST", b"content-length: 10\r\n"), b"x")

    assert reply.startswith(b"HTTP/1.1 404 Not Found\r\n")


def test_the_protocol_stands_on_nothing_of_uvicorns() -> None:
    """Its private classes change between releases; its settings and its record of connections are what a class gets."""
    own = [one for one in Protocol.__mro__ if one.__module__.startswith("isolet.wire.")]
    assert Protocol.__mro__ == (*own, asyncio.Protocol, asyncio.BaseProtocol, object)
    config = Config(takes_whole, http=Protocol, ws="none", lifespan="off", log_config=None)
    state = ServerState()
    config.load()
    assert config.http_protocol_class is Protocol
    assert {"loaded", "loaded_app", "timeout_keep_alive", "limit_concurrency"} <= set(vars(config))
    assert {"connections", "tasks", "default_headers", "total_requests"} <= set(vars(state))


async def test_a_reply_with_a_line_break_in_a_header_is_not_sent() -> None:
    async def splits(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"x-a", b"b\r\nset-cookie: c=1")]
        if scope["path"] == "/whole":
            await send({"type": WHOLE, "status": 200, "headers": headers, "body": b"x"})
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    for path in (b"/whole", b"/streamed"):
        async with listening(splits, Protocol) as address:
            reply = await talk(address, b"GET %b HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n" % path)
        assert reply.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
        assert b"set-cookie" not in reply


async def test_a_reply_that_breaks_off_is_not_taken_for_a_whole_one() -> None:
    """Old clients get neither chunks nor a length: the end of the connection would be that of the body."""

    async def breaks_off(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        raise BrokenReply

    async with listening(breaks_off, Protocol) as address:
        with pytest.raises(ConnectionResetError):
            await talk(address, b"GET / HTTP/1.0\r\nhost: test\r\n\r\n")
        assert (await talk(address, HEAD % (b"GET", b""))).endswith(b"\r\n\r\n4\r\npart\r\n")


async def test_a_request_that_the_server_cannot_wait_for_is_told_so() -> None:
    async def waits(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        await asyncio.Event().wait()

    async with listening(waits, Protocol) as address:
        reply = await talk(address, HEAD % (b"GET", b""))
    assert reply.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert reply.endswith(b'{"error": "The server is stopping; try again"}')


EXPECTS = b"expect: 100-continue\r\ncontent-length: 2\r\n"


async def test_a_client_that_was_not_told_to_continue_is_not_waited_for() -> None:
    """It may send another request in place of its body."""

    async def answers(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": WHOLE, "status": 401, "headers": [], "body": b"no"})

    async with listening(answers, Protocol, timeout_keep_alive=60) as address:
        reply = await talk(address, HEAD % (b"POST", EXPECTS))
    assert reply.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"\r\nconnection: close\r\n" in reply


@pytest.mark.parametrize(
    ("version", "pieces", "told"),
    [(b"1.1", (b"", b"{}"), 1), (b"1.1", (b"{}",), 0), (b"1.0", (b"", b"{}"), 0)],
    ids=["waiting", "sent", "old"],
)
async def test_who_waits_to_send_a_body_is_told_to_go_on(version: bytes, pieces: tuple[bytes, ...], told: int) -> None:
    head = b"POST / HTTP/%b\r\nhost: test\r\nconnection: close\r\n%b\r\n" % (version, EXPECTS)
    async with listening(takes_whole, Protocol) as address:
        reply = await talk(address, head + pieces[0], *pieces[1:])
    assert (reply.count(b"HTTP/1.1 100 Continue\r\n\r\n"), reply.count(b"HTTP/1.1 200 OK\r\n")) == (told, 1)
    assert reply.endswith(b"{}")


@pytest.mark.parametrize("before", [[], [b"host: test\r\n"]], ids=["first", "after a good one"])
@pytest.mark.parametrize(
    "hosts", [b"", b"host: test\r\nhost: test\r\n", b"host: a b\r\n", b"host: test\r\nhost: b\r\n"]
)
async def test_each_request_of_a_connection_names_one_host(before: list[bytes], hosts: bytes) -> None:
    async with listening(takes_whole, Protocol) as address:
        good = b"".join(b"POST / HTTP/1.1\r\n%bcontent-length: 0\r\n\r\n" % host for host in before)
        replies = await talk(address, good + b"POST / HTTP/1.1\r\n%bcontent-length: 0\r\n\r\n" % hosts)

    assert replies.count(b"HTTP/1.1 200 OK\r\n") == len(before)
    assert replies.count(b"HTTP/1.1 400 Bad Request\r\n") == 1


async def test_a_client_may_name_another_host_in_each_request() -> None:
    async def tells_host(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": WHOLE, "status": 200, "headers": [], "body": dict(scope["headers"])[b"host"] + b";"})

    request = b"GET / HTTP/1.1\r\nhost: %b\r\n%b\r\n"
    async with listening(tells_host, Protocol) as address:
        close = b"connection: close\r\n"
        replies = await talk(address, request % (b"a", b"") + request % (b"b", b"") + request % (b"b", close))

    assert [part[-2:] for part in replies.split(b";")] == [b"\na", b"\nb", b"\nb", b""]


class CountsHeads(Protocol):
    heads = 0

    def on_headers_complete(self) -> None:
        type(self).heads += 1
        super().on_headers_complete()


@pytest.mark.parametrize(
    ("kind", "offered"),
    [
        (type("Plain", (CountsHeads,), {}), b""),
        (type("Upgrades", (CountsHeads,), {}), b"connection: upgrade\r\nupgrade: h2c\r\n"),
    ],
)
async def test_of_thousands_of_requests_that_come_at_once_few_are_read_before_others_are_answered(
    kind: type[CountsHeads], offered: bytes
) -> None:
    goes_on, count = asyncio.Event(), 3_000

    async def answers_later(scope: Any, receive: Any, send: Any) -> None:
        await goes_on.wait()
        await send({"type": WHOLE, "status": 200, "headers": [], "body": scope["query_string"] + b";"})

    request = b"GET /?%d HTTP/1.1\r\nhost: a\r\n%b\r\n"
    last = request % (count, b"connection: close\r\n")
    async with listening(answers_later, kind) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"".join([*(request % (number, offered) for number in range(count)), last]))
        async with asyncio.timeout(60):
            while not kind.heads:
                await asyncio.sleep(0)
            assert kind.heads < 200
            goes_on.set()
            replies = await reader.read()
        writer.close()

    bodies = [part.rpartition(b"\n")[2] for part in replies.split(b";")[:-1]]
    assert bodies == [b"%d" % number for number in range(count + 1)]


async def test_idle_connections_make_room_and_those_that_are_served_do_not() -> None:
    go = asyncio.Event()

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/wait":
            await go.wait()
        await takes_whole(scope, receive, send)

    busy = b"GET /wait HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
    asks = HEAD % (b"GET", b"")
    async with asyncio.timeout(60), contextlib.AsyncExitStack() as stack:
        opened = listening(waits, partial(Protocol, room=ConnectionRoom()), limit_concurrency=3)
        address = await stack.enter_async_context(opened)

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection(*address)
            stack.callback(writer.close)
            return reader, writer

        idle, sending, serving = await connect(), await connect(), await connect()
        idle[1].write(asks)
        assert (await idle[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        sending[1].write(asks[:20])
        serving[1].write(busy)
        more = await connect()
        more[1].write(busy)
        # Both that wait for their clients have yielded.
        assert await idle[0].read() == b""
        assert await sending[0].read() == b""
        last = await connect()
        last[1].write(busy)
        refused = await connect()
        assert (await refused[0].read()).startswith(b"HTTP/1.1 503")
        go.set()
        for reader, _ in (serving, more, last):
            assert (await reader.read()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("fails", [False, True])
async def test_what_is_to_hear_of_the_end_of_a_request_does(fails: bool) -> None:
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope[ON_END].append(ended.set)
        if fails:
            raise RuntimeError
        await takes_whole(scope, receive, send)
        assert not ended.is_set()

    async with listening(app, Protocol) as address:
        await talk(address, HEAD % (b"GET", b"connection: close\r\n"))
        async with asyncio.timeout(60):
            await ended.wait()


async def test_a_crowd_of_clients_that_leave_at_once_is_told_of_in_several_turns_of_the_loop() -> None:
    turns, crowd = LoopTurns(), 100

    async def app(scope: Any, receive: Any, send: Any) -> None:
        turns.note("come")
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        turns.note("gone")

    async def until_all_have(what: str) -> None:
        while sum(noted == what for _, noted in turns.noted) < crowd:
            await asyncio.sleep(0)

    async with asyncio.timeout(60), listening(app, partial(Protocol, spread=Spread())) as address:
        with contextlib.ExitStack() as stack:
            for _ in range(crowd):
                stack.enter_context(socket.create_connection(address)).sendall(HEAD % (b"GET", b""))
            await until_all_have("come")
        await until_all_have("gone")
    turns.end()
    assert turns.most("gone") <= IN_A_TURN


_WHOLE_HEAD = HEAD % (b"POST", b"content-length: 4\r\nconnection: close\r\n")
# What one client of a crowd sends, in which pieces, and whether it closes its sending side then.
CROWD = [
    ([_WHOLE_HEAD + b"body"], False),
    ([_WHOLE_HEAD + b"body"], True),
    ([HEAD % (b"POST", b"content-length: 4\r\nconnection: close\r\nx: %b\r\n" % (b"y" * 5_000)) + b"body"], False),
    ([_WHOLE_HEAD[:20], _WHOLE_HEAD[20:] + b"bo", b"dy"], False),
    ([_WHOLE_HEAD, b"body"], True),
    ([_WHOLE_HEAD, b"b", b"ody"], False),
]


async def test_a_crowd_of_requests_is_parsed_in_several_turns_of_the_loop_and_all_are_answered() -> None:
    turns, loop = LoopTurns(), asyncio.get_running_loop()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        turns.note("begun")
        await takes_whole(scope, receive, send)
        turns.note("answered")

    async def reply(client: socket.socket) -> bytes:
        parts = []
        while part := await loop.sock_recv(client, 65_536):
            parts.append(part)
        return b"".join(parts)

    async with asyncio.timeout(60), listening(app, partial(Protocol, crowd=Crowd())) as address:
        with contextlib.ExitStack() as stack:
            clients = []
            for _ in range(40 * len(CROWD)):
                clients.append(stack.enter_context(socket.socket()))
                clients[-1].setblocking(False)
                await loop.sock_connect(clients[-1], address)
            leaving = [socket.create_connection(address) for _ in range(40)]
            await asyncio.sleep(0)
            for pieces in range(3):
                for place, client in enumerate(clients):
                    sent, closes = CROWD[place % len(CROWD)]
                    if pieces < len(sent):
                        client.send(sent[pieces])
                    if closes and pieces == len(sent) - 1:
                        client.shutdown(socket.SHUT_WR)
                while leaving:
                    leaving[-1].send(_WHOLE_HEAD)
                    leaving.pop().close()
                if pieces:
                    await asyncio.sleep(0)
            replies = await asyncio.gather(*map(reply, clients))
    turns.end()
    assert [(one[:15], one[-4:]) for one in replies] == [(b"HTTP/1.1 200 OK", b"body")] * len(clients)
    for what in ("begun", "answered"):
        assert turns.most(what) <= AT_ONCE + IN_A_TURN


async def test_a_client_that_closes_its_sending_side_and_leaves_is_forgotten_at_once() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def waits(_scope: Any, receive: Any, _send: Any) -> None:
        asked.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    async with asyncio.timeout(60), listening(waits, Protocol) as address:
        with garbage() as left:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(HEAD % (b"GET", b""))
            await asked.wait()
            writer.write_eof()
            # The probe of a side that may be gone has begun.
            assert await reader.read(1) == b"H"
            writer.transport.abort()
            await gone.wait()
            for _ in range(10):
                await asyncio.sleep(0)
    assert [one for one in left if isinstance(one, Protocol | Exchange)] == []

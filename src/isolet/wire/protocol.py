"""HTTP/1.1 on one connection: requests in, with bounds on what a client may send, and the refusal of what is none.

It serves uvicorn as its protocol class, and uses nothing of uvicorn's own. An application sees `wire.exchange`.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from isolet.spread import Spread
from isolet.tasks import start_in
from isolet.wire.behind import parser_of_body
from isolet.wire.body_rate import BodyRate
from isolet.wire.callers import TOLD, Caller, Proxies, address_of, plain_address, told_of
from isolet.wire.connection_room import ConnectionRoom
from isolet.wire.crowd import Crowd
from isolet.wire.exchange import ON_END, WHOLE, Exchange, Flow
from isolet.wire.half_closed import HalfClosed
from isolet.wire.message_reader import HEAD_MAX_BYTES, HEADERS_MAX
from isolet.wire.piece_reader import NOTHING, PIPELINED_MAX, PieceReader
from isolet.wire.refusals import refusal_of
from isolet.wire.targets import asks_for_websocket, split_target
from isolet.wire.upgrade import EXTENSION, Upgrade

__all__ = ["HEADERS_MAX", "HEAD_MAX_BYTES", "PIPELINED_MAX", "WHOLE", "Protocol"]

# What a caller may still send of a body that nobody reads, before it is cut off.
_UNREAD_MAX_BYTES = 16 * 1024 * 1024
_NO_PROXIES = Proxies()


class Protocol(PieceReader):
    """Refuses endless headers and trailers, and says in JSON what it refuses. Cuts a body that goes on after its reply.

    A client that lets `body_timeout_s` pass between two pieces of a body is refused, as is one that brings less than
    `body_least_bytes_s` a second in `body_window_s` of waiting for it; one that takes nothing of what it is sent for
    `write_timeout_s` is cut off. One that has closed its sending side gets its replies.

    A request that asks for a WebSocket has an `Upgrade` among the extensions of its scope. Any other upgrade that a
    client offers, such as `h2c`, is passed over, as HTTP has it. `proxies` may say for whom they ask.

    Connections share a `spread`: what ends with a crowd of clients that leave at once takes several turns of the loop.
    """

    body_timeout_s = 60.0
    body_window_s = 30.0
    body_least_bytes_s = 1024.0

    # Instances of so many attributes are slow without.
    __slots__ = (
        "_app",
        "_app_state",
        "_asked",
        "_connections_max",
        "_half_closed",
        "_is_at_end",
        "_is_from_proxy",
        "_latest",
        "_make_rate",
        "_passed_over",
        "_peer",
        "_proxies",
        "_refusal",
        "_room",
        "_running",
        "_scheme",
        "_spread",
        "_state",
        "_told",
    )

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        proxies: Proxies = _NO_PROXIES,
        room: ConnectionRoom | None = None,
        spread: Spread | None = None,
        crowd: Crowd | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        super().__init__(_loop or asyncio.get_running_loop(), float(config.timeout_keep_alive), crowd or Crowd())
        self._app = config.loaded_app
        self._app_state = app_state
        self._connections_max = config.limit_concurrency
        self._state = server_state
        self._proxies = proxies
        self._room = room
        self._spread = spread or Spread()
        self._running: Exchange | None = None
        self._latest: Exchange | None = None
        self._refusal: bytes | None = None
        self._half_closed: HalfClosed | None = None
        self._is_at_end = False
        self._asked: Upgrade | None = None
        self._passed_over = False
        self._make_rate = partial(BodyRate, window_s=self.body_window_s, least_bytes_s=self.body_least_bytes_s)

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self._flow = Flow(self.transport)
        self._state.connections.add(self)
        self._server = address_of(transport, "sockname")
        peer = address_of(transport, "peername")
        address = plain_address(peer[0]) if peer else None
        self._peer = (address, peer[1]) if peer and address else peer
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self._is_from_proxy = self._proxies.trusts(address)
        self._told = told_of(address)
        if not self._has_room():
            self._send_refusal(503, "Too many connections; try again later")
        else:
            self._begin_head_timer()

    def _has_room(self) -> bool:
        """Whether no more connections are open than may be, once idle ones have yielded."""
        most, connections = self._connections_max, self._state.connections
        if most is None or len(connections) <= most:
            return True
        return self._room is not None and self._room.make(connections, most, self.loop.time())

    @property
    def idle_since(self) -> float:
        """When it began to wait for a request of its client, by the loop's clock; 0 while it has one."""
        if self._upgrade is not None or self._is_in_line or self._is_answering or self.transport.is_closing():
            return 0.0
        return self._idle_since or self._head_since

    @property
    def peer_host(self) -> str:
        return self._peer[0] if self._peer is not None else ""

    def close(self) -> None:
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.connections.discard(self)
        self._end_timers()
        if self._half_closed is not None:
            self._half_closed.close()
            # It refers back to this object, as the parser does.
            self._half_closed = None
        served = [one for one in (self._running, self._latest, *self._waiting) if one and not one.response_complete]
        for exchange in served:
            exchange.disconnected = True
        self._waiting.clear()
        self._held = NOTHING
        if served or self._upgrade is not None or self._flow.write_paused:
            self._spread.later(partial(self._tell_lost, served, exc))
        del self._parser

    def _tell_lost(self, served: Sequence[Exchange], exc: Exception | None) -> None:
        for exchange in served:
            exchange.disconnect()
        self._flow.resume_writing()
        if self._upgrade is not None:
            self._upgrade.connection_lost(exc)

    def eof_received(self) -> bool:
        """Whether the connection stays open for what is to be sent: a client may close its sending side first."""
        if self._is_at_end:
            return True
        if self._is_in_line:
            # What came before is parsed first.
            self._ends_in_line = True
            return True
        if self._upgrade is not None:
            return False
        if self._in_message and self._latest is not None and not self._in_head:
            # The rest of this request never comes.
            self._drop_latest()
        if not self._is_answering:
            return False
        self._is_at_end = True
        self._last.keep_alive = False
        self._half_closed = HalfClosed(self.transport, self._probe, self._spread)
        return True

    def shutdown(self) -> None:
        """The server stops: the request that runs is the connection's last."""
        if self._is_in_line:
            self._parse_in_line()
        if self._upgrade is not None:
            self._upgrade.shutdown()
            if self._upgrade.accepted:
                return
        if self._latest is None or self._latest.response_complete:
            self.transport.close()
        else:
            self._latest.keep_alive = False

    @property
    def _is_answering(self) -> bool:
        running = self._running
        return running is not None and not (running.response_complete or running.disconnected)

    @property
    def _last(self) -> Exchange:
        """The last of the requests that are answered; to be asked for only while one is."""
        return self._waiting[-1] if self._waiting else cast(Exchange, self._running)

    def _is_taken(self) -> bool:
        # An accepted upgrade is its taker's until that closes it.
        return self._upgrade is not None and self._upgrade.accepted and not self.transport.is_closing()

    def _probe(self) -> bytes:
        return self._running.probe() if self._running is not None else b""

    def _drop_latest(self) -> None:
        """The request that was not complete gets no reply of an application any more."""
        if self._latest is not None:
            self._latest.disconnect()
            if self._latest in self._waiting:
                self._waiting.remove(self._latest)

    def pause_writing(self) -> None:
        self._flow.pause_writing()
        if self._write_timer is None:
            self._watch_writing()
        if self._upgrade is not None:
            self._upgrade.pause_writing()

    def resume_writing(self) -> None:
        self._flow.resume_writing()
        self._end_write_timer()
        if self._upgrade is not None:
            self._upgrade.resume_writing()

    # Heads. What the parser calls.

    def on_headers_complete(self) -> None:
        if self._head_timer is not None:
            self._end_head_timer()
        if (
            self._head_bytes + self._piece_bytes > HEAD_MAX_BYTES
            or len(self._headers) + len(self._claims) > HEADERS_MAX
        ):
            self._check_size()
        parser = self._parser
        version = parser.get_http_version()
        if version == "1.0":
            self._check_coding_of_old()
        raw_path, query = split_target(self._url, self._hosts)
        if self._hosts != self._good_hosts:
            self._check_host(version)
        caller = self._caller() if self._is_from_proxy else None
        path = raw_path.decode("ascii")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "method": parser.get_method().decode("ascii"),
            "scheme": caller.scheme if caller else self._scheme,
            "path": urllib.parse.unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self._headers,
            "server": self._server,
            "client": (caller.address, 0) if caller else self._peer,
            "state": self._app_state.copy(),
            TOLD: caller.told if caller else self._told,
            ON_END: [],
        }
        exchange = Exchange(
            scope,
            self.transport,
            self._flow,
            fixed=self._state.default_headers,
            expects_continue=self._expects_continue and version != "1.0",
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            body_timeout_s=self.body_timeout_s,
            rate=self._make_rate,
            on_complete=self._on_complete,
            on_late=self._refuse_late,
        )
        if parser.should_upgrade():
            if asks_for_websocket(self._headers):
                self._ask_upgrade(exchange)
            else:
                self._passed_over = True
        self._latest = exchange
        self._in_head = False
        self._brought_on = True
        if self._is_answering:
            # Pipelined requests wait for their turn.
            self._flow.pause_reading()
            self._waiting.append(exchange)
        else:
            self._start(exchange)

    def _caller(self) -> Caller | None:
        """Whom a trusted proxy asks for. Raises RequestError for a host that is none."""
        if self._peer is None:
            return None
        caller = self._proxies.caller(self._peer[0], self._claims, self._scheme)
        if caller.host is not None:
            self._set_host(caller.host)
        return caller

    def _start(self, exchange: Exchange) -> None:
        self._running = exchange
        # The server waits for them when it stops, and then cancels them.
        start_in(self.loop, self._state.tasks, exchange.run(self._app))

    def _on_complete(self) -> None:
        self._state.total_requests += 1
        if self.transport.is_closing():
            return
        if self._held:
            # In a turn of its own: who sent much has had this one.
            self.loop.call_soon(self._parse_held)
        if self._waiting:
            self._flow.resume_reading()
            self._start(self._waiting.popleft())
        elif self._refusal is not None:
            self._end_with(self._refusal)
        elif self._is_at_end:
            self.transport.close()
        else:
            self._flow.resume_reading()
            self._idle_since = self.loop.time()
            if self._idle_timer is None:
                self._watch_idle()

    # Bodies. What the parser calls.

    def on_body(self, body: bytes) -> None:
        self._brought_on = True
        self._framing_bytes = 0
        exchange = self._latest
        if exchange is None:
            return
        if exchange.response_complete:
            self._idle_since = self.loop.time()
            self._unread_bytes += len(body)
            if self._unread_bytes > _UNREAD_MAX_BYTES:
                self.transport.close()
            return
        exchange.add_body(body)

    def on_message_complete(self) -> None:
        if self._passed_over:
            # The parser took no body; the next one does.
            self._passed_over = False
            return
        self._in_message = False
        if self._latest is not None and not self._latest.response_complete:
            self._latest.end_body()

    # Upgrades.

    def _ask_upgrade(self, exchange: Exchange) -> None:
        """Whatever the answer is, no other request follows on this connection."""
        exchange.keep_alive = False
        self._asked = Upgrade(self.transport, self._state.default_headers, on_accept=exchange.switch)
        exchange.scope["extensions"] = {EXTENSION: self._asked}

    def _go_on(self) -> None:
        """The parser stopped: for it the request is over, and what follows is of another protocol."""
        if self._asked is not None:
            self._upgrade = self._asked
        else:
            self._parser = parser_of_body(self, self._headers)

    # Refusals.

    def _refuse_message(self) -> None:
        """What came is no request that can be served; replies to those before it go out first."""
        if self._is_too_large:
            refusal = refusal_of(431, "Request headers are too large")
        else:
            refusal = refusal_of(400, "The request is not valid HTTP")
        self._refuses = True
        broken = None if self._in_head or not self._in_message else self._latest
        if broken is not None and broken is self._running:
            if broken.response_started:
                # Its reply has begun, and may have been read: there is no place for another.
                is_over = broken.response_complete
                broken.disconnect()
                (self.transport.close if is_over else self.transport.abort)()
                return
            broken.disconnect()
        elif broken is not None:
            self._drop_latest()
        if self._is_answering:
            self._refusal = refusal
            self._flow.pause_reading()
        else:
            self._end_with(refusal)

    def _refuse_late(self) -> None:
        self._end_with(refusal_of(408, "The request's body did not come in time"))

    def _send_refusal(self, status: int, text: str) -> None:
        self._end_with(refusal_of(status, text))

    def _end_with(self, refusal: bytes) -> None:
        self._refuses = True
        self.transport.write(refusal)
        self.transport.close()

"""uvicorn on a socket that was bound before, without signal handling of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, cast

import uvicorn

from isolet.errors import SettingsError
from isolet.spread import Spread
from isolet.wire.callers import Proxies
from isolet.wire.connection_room import ConnectionRoom
from isolet.wire.crowd import Crowd
from isolet.wire.exchange import BrokenReply
from isolet.wire.protocol import Protocol

_KEEP_ALIVE_S = 75
# As many as the kernel takes by default: whoever comes while it is full waits for seconds, and a crowd may fill less.
_BACKLOG = 4096


class Listener(uvicorn.Server):
    """Serves `app` on a socket that was bound before, so that a taken port is told before anything starts.

    Connections over `connections_max` take the places of idle ones, and are refused where there is none.
    `trusted_proxies` are networks whose proxies say for whom they ask. `on_started` is called once connections are
    accepted.
    """

    def __init__(
        self,
        app: Any,
        bound: socket.socket,
        *,
        drain_timeout_s: float,
        connections_max: int | None = None,
        trusted_proxies: Sequence[str] = (),
        on_started: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=cast(
                    type[asyncio.Protocol],
                    partial(
                        Protocol,
                        proxies=Proxies(trusted_proxies),
                        room=ConnectionRoom(),
                        spread=Spread(),
                        crowd=Crowd(),
                    ),
                ),
                interface="asgi3",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=True,
                backlog=_BACKLOG,
                limit_concurrency=connections_max,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(drain_timeout_s)),
                proxy_headers=False,
            )
        )
        self._bound = bound
        self._on_started = on_started
        logging.getLogger("uvicorn.error").addFilter(_is_news)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    async def run_until_stopped(self) -> None:
        await self.serve(sockets=[self._bound])

    def stop(self) -> None:
        """Refuse new connections and drain; the second time, cut what is left."""
        self.force_exit = self.should_exit
        self.should_exit = True


def bind(host: str, port: int, *, listen: bool = False) -> socket.socket:
    """Raises SettingsError when the address cannot be had. Nobody else can have it from when it listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        if listen:
            bound.listen(_BACKLOG)
    except OSError as exc:
        bound.close()
        raise SettingsError(f"cannot listen on {host}:{port}: {exc.strerror}") from exc
    bound.setblocking(False)
    return bound


def _is_news(record: logging.LogRecord) -> bool:
    """Replies that break off and requests that are no HTTP are everyday; they are counted, not told."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, BrokenReply) and "Invalid HTTP request" not in record.getMessage()

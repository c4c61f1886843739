"""The least that a proxy in Python costs: our server and our client with nothing between them, before bare workerd.

`python -m tests.bench.proxy` prints its URL and serves until SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from pathlib import Path

import uvloop

from isolet.api.asgi import Receive, Scope, Send, send_bytes
from isolet.runtime.process import listen
from isolet.wire.channel import Channel
from isolet.wire.server import Listener, bind
from tests.bench.sides import BareWorkerd

_BODY_MAX_BYTES = 1_000_000


class Proxy:
    """An ASGI application that passes everything on as it is."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more and len(body) < _BODY_MAX_BYTES:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        lines = b"".join([b"%b: %b\r\n" % header for header in scope["headers"]])
        connection = await self._channel.connect()
        connection.begin(b"POST %b HTTP/1.1\r\n%b\r\n%b" % (scope["raw_path"], lines, body))
        await connection.head()
        reply = b""
        while not connection.complete or connection.chunks:
            reply += await connection.chunk()
        await send_bytes(send, connection.status, reply, connection.headers)
        self._channel.release(connection)


async def serve() -> None:
    with tempfile.TemporaryDirectory(prefix="isolet-bench-") as folder:
        path = Path(folder, "socket")
        with BareWorkerd(listen(path)), bind("127.0.0.1", 0) as bound:
            listener = Listener(
                Proxy(Channel(str(path))),
                bound,
                drain_timeout_s=1,
                on_started=lambda: print(f"http://127.0.0.1:{bound.getsockname()[1]}/", flush=True),
            )
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, listener.stop)
            await listener.run_until_stopped()


if __name__ == "__main__":
    uvloop.run(serve())

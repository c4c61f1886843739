"""The native API as pages use it: the operations of the contract, asked of the application of this process.

A page can do what the key of its session can, by the same checks as every client, and in no other way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import unquote

from msgspec import Struct, field

from isolet.access.lent_keys import LentKeys
from isolet.access.rules import READS, Reads
from isolet.client.messages import request_of, value_of
from isolet.client.resources import Resources
from isolet.contract.operations import AnyOperation, Async
from isolet.domain.access import Principal
from isolet.wire.callers import CLAIMS, TOLD, told_of
from isolet.wire.exchange import BrokenReply
from isolet.wire.protocol import WHOLE

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
# More than any reply of the API that a page shows: the files of a function may be 10 MB.
_REPLY_MAX_BYTES = 64 * 1024 * 1024
# Larger replies are read in a thread.
_SMALL_BYTES = 16 * 1024
_SMALL_CHARS = 4096


class Answer(Struct, kw_only=True):
    """`body` is cut where it is longer than was asked for; `size_bytes` is that of the whole."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    size_bytes: int = 0

    @property
    def truncated(self) -> bool:
        return self.size_bytes > len(self.body)


class Origin(Struct, frozen=True, kw_only=True):
    """Whom a request is made for: the client of the page, and the host under which the API is asked."""

    host: bytes
    client: tuple[str, int] | None
    scheme: str = "http"


class InProcess(Resources[Async]):
    """Operations for one signed-in request. `holder` says whom its session stands for, while it does.

    `reads` is for a request that changes nothing: what its operations check is read once for all of them.
    """

    def __init__(
        self,
        app: Application,
        lent: LentKeys,
        holder: Callable[[], Principal | None],
        origin: Origin,
        reads: Reads | None = None,
    ) -> None:
        super().__init__(self)
        self._app = app
        self._lent = lent
        self._holder = holder
        self._origin = origin
        self._reads = reads

    async def call(self, operation: AnyOperation, arguments: Mapping[str, Any]) -> Any:
        """Send any operation of the contract. Raises what `client/errors.py` has."""
        # A body may be a megabyte of small values, and so may be what stands in a path.
        large = arguments.get("body") is not None or any(
            isinstance(value, str) and len(value) > _SMALL_CHARS for value in arguments.values()
        )
        request = (
            await asyncio.to_thread(request_of, operation, arguments) if large else request_of(operation, arguments)
        )
        content = request.content if isinstance(request.content, bytes) else b""
        headers = [(name.encode(), value.encode()) for name, value in request.headers.items()]
        answer = await self.send(request.method, request.target, headers, content, most=_REPLY_MAX_BYTES)
        told = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
        if answer.size_bytes <= _SMALL_BYTES:
            return value_of(operation, answer.status, told, bytes(answer.body))
        return await asyncio.to_thread(value_of, operation, answer.status, told, bytes(answer.body))

    def follow(self, stream: AnyOperation, arguments: Mapping[str, Any]) -> Any:
        """Pages hand streams on as they come: `relay.py`."""
        raise NotImplementedError(stream.path)

    async def send(self, method: str, target: str, headers: Headers, content: bytes, *, most: int) -> Answer:
        """Any request; no more than `most` bytes of the reply's body are kept, and of one that breaks off what came."""
        answer = Answer()

        async def send(message: Message) -> None:
            if message["type"] in ("http.response.start", WHOLE):
                answer.status, answer.headers = message["status"], list(message.get("headers", ()))
            body: bytes = message.get("body", b"")
            answer.size_bytes += len(body)
            answer.body += body[: max(most - len(answer.body), 0)]

        with self.request(method, target, headers, length=len(content)) as scope, suppress(BrokenReply):
            await self._app(scope, _receive_once(content), send)
        return answer

    @contextmanager
    def request(self, method: str, target: str, headers: Headers, *, length: int | None) -> Iterator[Scope]:
        """The ASGI scope of a request, with a key that is good inside the `with`. `length` is that of its body."""
        path, _, query = target.partition("?")
        with self._lent.lend(self._holder) as key:
            yield {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "http_version": "1.1",
                "method": method,
                "scheme": self._origin.scheme,
                "path": unquote(path),
                "raw_path": path.encode("ascii"),
                "query_string": query.encode("ascii"),
                "root_path": "",
                "headers": [
                    *(header for header in headers if header[0] not in CLAIMS),
                    *([] if length is None else [(b"content-length", b"%d" % length)]),
                    (b"host", self._origin.host),
                    (b"x-api-key", key.encode()),
                ],
                "server": None,
                "client": self._origin.client,
                TOLD: told_of(self._origin.client[0] if self._origin.client is not None else None),
                "state": {},
                READS: self._reads,
            }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application serve a scope of `request`."""
        await self._app(scope, receive, send)


def _receive_once(content: bytes) -> Receive:
    """What an application receives from a client that has sent its body and stays."""
    messages: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        gone: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await gone

    return receive

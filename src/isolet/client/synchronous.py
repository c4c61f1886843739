"""The client that waits for each reply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from isolet.client.connection import TIMEOUT_S, arguments, options, reaching
from isolet.client.errors import error_of
from isolet.client.messages import Events, request_of, value_of
from isolet.client.resources import Resources
from isolet.contract.operations import AnyOperation, Sync


class Client(Resources[Sync]):
    """Use it as a context manager. `timeout_s` is for each wait: to connect, to send, for a part of a reply."""

    def __init__(self, url: str, key: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """Raises ApiError for an address or a key that makes no request."""
        super().__init__(self)
        self._url, self._timeout_s = url, timeout_s
        with reaching(url):
            self._http = httpx.Client(**options(url, key, timeout_s))

    def call(self, operation: AnyOperation, arguments_: Mapping[str, Any]) -> Any:
        """Send any operation of the contract."""
        with reaching(self._url):
            reply = self._http.request(**arguments(request_of(operation, arguments_), self._timeout_s))
        return value_of(operation, reply.status_code, reply.headers, reply.content)

    @contextmanager
    def follow(self, stream: AnyOperation, arguments_: Mapping[str, Any]) -> Iterator[Iterator[Any]]:
        """Open any stream of the contract."""
        with (
            reaching(self._url),
            self._http.stream(**arguments(request_of(stream, arguments_), self._timeout_s)) as reply,
        ):
            if not reply.is_success:
                raise error_of(reply.status_code, reply.headers, reply.read())
            yield reply.iter_bytes() if stream.reply is bytes else _events(stream, reply)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _events(stream: AnyOperation, reply: httpx.Response) -> Iterator[Any]:
    events = Events(stream)
    for line in reply.iter_lines():
        yield from events.feed(line)

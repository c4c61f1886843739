"""A client of somebody else's MCP server: streamable HTTP, a request at a time, each with a deadline.

It is not that of the library: there, what a server sends is read on the event loop, and checked with schemas and
patterns that the server chose.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from isolet.domain import mcp_messages as messages
from isolet.domain.mcp_messages import EventStream, RemoteTool
from isolet.errors import Unanswered
from isolet.ids import ProjectId
from isolet.runtime.outgoing import Incoming, Outgoing, Requests

REPLY_MAX_BYTES = 1_048_576
CONNECT_TIMEOUT_S = 20.0
CALL_TIMEOUT_S = 60.0
_PAGES_MAX = 10
_SMALL_BYTES = 32_768
# Of a stream: it may have an event in seven bytes.
_SMALL_STREAMED_BYTES = 4_096
_ERROR_MAX_BYTES = 4_096
# What says that a server wants no handshake, or cannot do it.
_NO_HANDSHAKE = frozenset({400, 404, 405, 406, 415, 501})


class _Refused(Unanswered):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"the MCP server answered {status}: {text}" if text else f"the MCP server answered {status}")
        self.status = status


class McpClient:
    """`headers` are sent with each request, such as `authorization`."""

    def __init__(self, requests: Requests, project_id: ProjectId, url: str, headers: Mapping[str, str]) -> None:
        self._requests = requests
        self._project_id = project_id
        self._url = url
        self._headers = dict(headers)
        self._number = 0
        self._version = messages.HANDSHAKE_VERSION
        self._session: str | None = None

    async def connect(self) -> list[RemoteTool]:
        """Begin, and list the tools. Raises Unanswered."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._begin()
                return await self._list()
        except TimeoutError:
            raise Unanswered(f"the MCP server did not answer within {CONNECT_TIMEOUT_S:g} s") from None

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The result of a tool's call. Raises Unanswered."""
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return await self._ask("tools/call", {"name": name, "arguments": arguments}, name=name)
        except TimeoutError:
            raise Unanswered(f"the MCP server did not answer within {CALL_TIMEOUT_S:g} s") from None

    async def close(self) -> None:
        """End the session where there is one; that it cannot be ended is no matter."""
        if self._session is None:
            return
        request = Outgoing(method="DELETE", url=self._url, headers=self._common())
        self._session = None
        try:
            await self._requests.send(self._project_id, request, timeout_s=2.0, max_bytes=_ERROR_MAX_BYTES)
        except Unanswered:
            return

    async def _begin(self) -> None:
        try:
            told = await self._ask("initialize", messages.handshake())
        except _Refused as exc:
            if exc.status not in _NO_HANDSHAKE:
                raise
            self._version = messages.MODERN_VERSION
            return
        version = told.get("protocolVersion")
        if isinstance(version, str) and version.isascii() and version.isprintable():
            self._version = version[:40]
        await self._send(messages.notification("notifications/initialized"), None, {})

    async def _list(self) -> list[RemoteTool]:
        tools: list[RemoteTool] = []
        params: dict[str, Any] = {}
        for _ in range(_PAGES_MAX):
            told = await self._ask("tools/list", params)
            tools += await asyncio.to_thread(list, messages.tools_in(told))
            cursor = told.get("nextCursor")
            if not isinstance(cursor, str) or len(tools) >= messages.TOOLS_MAX:
                break
            params = {"cursor": cursor}
        return tools[: messages.TOOLS_MAX]

    async def _ask(self, method: str, params: Mapping[str, Any], *, name: str | None = None) -> Mapping[str, Any]:
        self._number += 1
        headers = {}
        if self._version == messages.MODERN_VERSION:
            params = messages.with_meta(params)
            headers = {"mcp-method": method, **({} if name is None else {"mcp-name": name})}
        body = await asyncio.to_thread(messages.request, self._number, method, params)
        told = await self._send(body, self._number, headers)
        if told is None:
            raise Unanswered(f"the MCP server did not answer {method}")
        return told

    async def _send(self, body: bytes, number: int | None, headers: Mapping[str, str]) -> Mapping[str, Any] | None:
        """The result of request `number`; None where nothing answers it."""
        sent = [*self._common(), *headers.items(), ("content-type", "application/json")]
        request = Outgoing(method="POST", url=self._url, headers=sent, body=body)
        async with self._requests.open(self._project_id, request) as reply:
            if not 200 <= reply.status < 300:
                text = (await reply.read(REPLY_MAX_BYTES))[:_ERROR_MAX_BYTES].decode(errors="replace")
                raise _Refused(reply.status, " ".join(text.split())[:300])
            session = reply.header("mcp-session-id")
            self._session = session or self._session
            if number is None:
                return None
            if reply.header("content-type").lower().startswith("text/event-stream"):
                return await _streamed(reply, number)
            return await _read(await reply.read(REPLY_MAX_BYTES), number)

    def _common(self) -> list[tuple[str, str]]:
        """The headers that every request has."""
        session = [] if self._session is None else [("mcp-session-id", self._session)]
        known = [("accept", "application/json, text/event-stream"), ("mcp-protocol-version", self._version)]
        own = {name for name, _ in (*known, *session)} | {
            "content-type",
            "content-length",
            "host",
            "mcp-method",
            "mcp-name",
        }
        return [*known, *session, *((name, value) for name, value in self._headers.items() if name.lower() not in own)]


async def _read(data: bytes, number: int) -> Mapping[str, Any] | None:
    if len(data) > _SMALL_BYTES:
        return await asyncio.to_thread(messages.answer_in, data, number)
    return messages.answer_in(data, number)


async def _streamed(reply: Incoming, number: int) -> Mapping[str, Any] | None:
    """The answer in a stream of events; what else is told there is passed over."""
    events = EventStream(number)
    while chunk := await reply.chunk():
        if reply.size_bytes > REPLY_MAX_BYTES:
            raise Unanswered(f"the MCP server's reply is larger than {REPLY_MAX_BYTES} bytes")
        if len(chunk) + events.waiting_bytes > _SMALL_STREAMED_BYTES:
            told = await asyncio.to_thread(events.feed, chunk)
        else:
            told = events.feed(chunk)
        if told is not None:
            return told
    return await asyncio.to_thread(events.end)

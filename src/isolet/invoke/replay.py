"""Runs a stored call again, against the version that is live now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias
from urllib.parse import quote

from isolet.domain.invocations import SWITCHED, Door, Invocation, Kind
from isolet.domain.public_routes import shared_place
from isolet.errors import Conflict, ExecutionError, NotFound
from isolet.ids import InvocationId
from isolet.invoke.invoker import Invoker
from isolet.invoke.request import CallRequest, stored_origin
from isolet.observe.redaction import stored_headers
from isolet.routing.routes import Route, Routes
from isolet.runtime.envelope import FETCH, SCHEDULED, Event
from isolet.wire.channel import Headers

_PATH_CHARS = "/:@!$&'()*+,;=~"
_REPLY_MAX_BYTES = 100 * 1024 * 1024


# What a call of a function is, by its stored headers, the function's name and the client's address.
Again: TypeAlias = Callable[[Headers, str, str | None], Event]


class Replays:
    """`again` has doors whose functions are told more of a call than its request says."""

    def __init__(self, routes: Routes, invoker: Invoker, again: Mapping[Door, Again] | None = None) -> None:
        self._routes = routes
        self._invoker = invoker
        self._again = again or {}

    async def run(self, call: Invocation) -> InvocationId:
        """The id of the new call, which has ended, well or not. Headers that were redacted are left out.

        Raises Conflict when the stored request is not whole, NotFound when the function is gone, NotDeployed,
        TooManyRequests.
        """
        if call.status == SWITCHED:
            raise Conflict("cannot replay this call: it was a WebSocket, whose messages are not recorded")
        if call.request_truncated:
            raise Conflict("cannot replay this call: its body was cut when it was recorded")
        if call.request_redacted:
            raise Conflict("cannot replay this call: its request held a secret or a key, which is not recorded")
        route = self._routes.function(call.function_id)
        if route is None:
            raise NotFound("cannot replay this call: its function is gone")
        # The record has the path as it reads, not as it was sent.
        path = quote(call.path, safe=_PATH_CHARS)
        if call.door is Door.PUBLIC:
            path = self._own_path(route, path)
        target = f"{path}?{call.query}" if call.query else path
        headers = stored_headers(call.request_headers)
        origin = stored_origin(headers)
        request = CallRequest(
            door=call.door,
            method=call.method.encode("latin-1"),
            target=target.encode(),
            path=call.path,
            # Among them are the platform's own, which the caller's `Connection` took nothing of.
            headers=[header for header in headers if header[0] != b"connection"],
            body=call.request_body,
            scheme=origin.scheme,
            origin=origin,
            kind=Kind.CRON if call.kind is Kind.CRON else Kind.SYNC,
            event=self._event(call, route, headers, origin.address),
        )
        try:
            reply = await self._invoker.call(route, request)
            await reply.read(_REPLY_MAX_BYTES)
        except ExecutionError as exc:
            return InvocationId(str(exc.details["invocation_id"]))
        return reply.invocation_id

    def _event(self, call: Invocation, route: Route, headers: Headers, address: str | None) -> Event:
        if call.kind is Kind.CRON:
            return SCHEDULED
        again = self._again.get(call.door)
        return FETCH if again is None else again(headers, route.name, address)

    def _own_path(self, route: Route, path: str) -> str:
        """The path that the function saw, of a call that came to its address among those of all functions."""
        place = shared_place(path.encode()) if path.startswith("/f/") else None
        project = None if place is None or place.project is None else self._routes.project(place.project)
        if place is None or project is None or self._routes.named(project.id, place.function) != route:
            return path
        return place.path.decode()

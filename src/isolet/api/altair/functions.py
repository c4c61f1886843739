"""Altair's functions of a space, their code and logs, and OAuth tokens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qs

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from msgspec import Struct

from isolet.access import rates
from isolet.access.credentials import Credentials
from isolet.api.altair import shapes
from isolet.api.altair.access import DEPLOY, READ
from isolet.api.reply import Json, large
from isolet.api.request import json_body, open_body
from isolet.api.rows import GrantedProject, LaterRoute, route
from isolet.clock import iso, parse_iso
from isolet.domain.functions import Function
from isolet.domain.invocations import Invocation
from isolet.domain.projects import Project
from isolet.domain.schedules import OPTIONS_NAME
from isolet.errors import InvalidInput, NotFound, RequestError, Unauthenticated
from isolet.functions.publisher import Publisher
from isolet.functions.service import Functions
from isolet.ids import InvocationId, ProjectId
from isolet.observe.call_history import CallHistory
from isolet.observe.usage_stats import UsageStats
from isolet.projects.tokens import EXPIRES_S, Tokens
from isolet.routing.routes import Routes
from isolet.settings import Settings

ROOT_CLIENT = "root"
_FORM_MAX_BYTES = 16_384
_LOG_CALLS = 500

# The original documents no size of a page: who does not ask for one gets all, or nearly.
_LIST_MAX = 500
_CURSOR_MAX = 2**31
_NOT_READY = {"details": "function not ready"}


class AltairTokens(Struct, frozen=True, kw_only=True):
    """The routes of OAuth. They have no row: the credentials are in the form."""

    credentials: Credentials
    tokens: Tokens

    def routes(self) -> list[LaterRoute]:
        return [
            LaterRoute("/oauth2/token", self.token, methods=["POST"], tags=["Altair"]),
            LaterRoute("/oauth2/revoke", self.revoke, methods=["POST"], tags=["Altair"]),
        ]

    async def token(self, request: Request) -> Response:
        form = await _form(request)
        if form.get("grant_type") != "client_credentials":
            raise RequestError("grant_type must be client_credentials")
        key = form.get("client_secret", "")
        principal = self.credentials.of_key(key)
        if principal is None or form.get("client_id") != (principal.key_id or ROOT_CLIENT):
            raise Unauthenticated("Unauthenticated")
        rates.count(request.scope, principal.project_id)
        body = {
            "access_token": await self.tokens.issue(key),
            "expires_in": EXPIRES_S,
            "scope": form.get("scope", ""),
            "token_type": "bearer",
        }
        return Json(body, headers={"cache-control": "no-store"})

    async def revoke(self, request: Request) -> Response:
        await self.tokens.revoke((await _form(request)).get("token", ""))
        return Response(status_code=200)


class AltairFunctions(Struct, frozen=True, kw_only=True):
    routes: Routes
    functions: Functions
    publisher: Publisher
    records: CallHistory
    metrics: UsageStats
    settings: Settings

    @route("POST", "/functions", DEPLOY, status_code=201)
    async def create(self, request: Request, project: GrantedProject) -> Response:
        values = shapes.creation(await json_body(request, self.settings, project.id))
        function = await self.publisher.create(project.id, values)
        return await self._reply(function, project, 0, status_code=201)

    @route("GET", "/functions", READ)
    async def list_functions(
        self, project: GrantedProject, limit: str | None = None, cursor: str | None = None
    ) -> Response:
        size = _LIST_MAX if limit is None else _whole("limit", limit, least=1, most=_LIST_MAX)
        start = _whole("cursor", cursor, least=0, most=_CURSOR_MAX) if cursor else 0
        some = await self.functions.list(project.id, limit=size + 1, offset=start)
        found = some[:size]
        paging = {
            "next_cursor": str(start + size) if len(some) > size else "",
            "previous_cursor": str(max(start - size, 0)) if start else "",
        }
        totals = await self.metrics.totals([function.id for function in found])
        env_of = await self.functions.door_envs(found)

        def shape() -> dict[str, Any]:
            shown = [shapes.function_object(one, project.slug, totals[one.id], env_of(one)) for one in found]
            return {"data": shown, "paging": paging}

        return await large(shape)

    @route("GET", "/functions/{name}", READ)
    async def get(self, project: GrantedProject, name: str) -> Response:
        return await self._counted(await self._function(project, name), project)

    @route("PUT", "/functions/{name}", DEPLOY)
    async def replace(self, request: Request, project: GrantedProject, name: str) -> Response:
        before = await self._function(project, name)
        changes = shapes.replacement(await json_body(request, self.settings, project.id), before)
        return await self._counted(await self.publisher.change(before, changes), project)

    @route("DELETE", "/functions/{name}", DEPLOY, status_code=204)
    async def delete(self, project: GrantedProject, name: str) -> Response:
        function = await self._function(project, name)
        await self.functions.delete(project.id, function.id)
        return Response(status_code=204)

    @route("GET", "/functions/{name}/code", READ)
    async def code(self, project: GrantedProject, name: str) -> Response:
        function = await self._function(project, name)
        if function.version is None:
            return Json(_NOT_READY, status_code=202)
        live = await self.functions.version(function.id, function.version)
        return await large(lambda: {"code": shapes.encoded(live.code)})

    @route("GET", "/functions/{name}/logs", READ)
    async def logs(self, project: GrantedProject, name: str, since: str | None = None, tail: str = "0") -> Response:
        function = await self._function(project, name)
        if function.version is None:
            return Json(_NOT_READY, status_code=202)
        lines = self._lines(function, _since(since), _whole("tail", tail))
        return StreamingResponse(lines, media_type="application/x-ndjson")

    async def _lines(self, function: Function, since_ms: int, tail: int) -> AsyncIterator[str]:
        """Oldest first, a few calls at a time: each may have printed two megabytes."""
        ids, skip = await self.records.log_ids(function.id, limit=_LOG_CALLS), 0
        if tail > 0:
            ids, skip = await self._of_tail(function, ids, since_ms, tail)
        async for calls in self.records.log(function.id, ids[::-1]):
            lines = await asyncio.to_thread(_ndjson, function.slug, calls, since_ms)
            yield "".join(lines[skip:])
            skip = max(skip - len(lines), 0)

    async def _of_tail(
        self, function: Function, ids: Sequence[InvocationId], since_ms: int, tail: int
    ) -> tuple[list[InvocationId], int]:
        """The newest calls that printed the last `tail` lines, and how many lines the oldest of them printed before."""
        found: list[InvocationId] = []
        lines = 0
        async with aclosing(self.records.log(function.id, ids)) as parts:
            async for calls in parts:
                for call in calls:
                    found.append(call.id)
                    lines += sum(line.at_ms >= since_ms for line in call.console)
                    if lines >= tail:
                        return found, lines - tail
        return found, 0

    async def _function(self, project: Project, name: str) -> Function:
        """Raises NotFound."""
        found = self.routes.named(project.id, name)
        if found is None:
            raise NotFound("function not found")
        return await self.functions.get(project.id, found.function_id)

    async def _counted(self, function: Function, project: Project) -> Response:
        totals = await self.metrics.totals([function.id])
        return await self._reply(function, project, totals[function.id])

    async def _reply(
        self, function: Function, project: Project, invocations: int, *, status_code: int = 200
    ) -> Response:
        env_of = await self.functions.door_envs([function])
        next_ms, last_ms = await self.functions.runs(function, OPTIONS_NAME)
        runs = {"next_run": shapes.time(next_ms), "last_run": shapes.time(last_ms)}
        return await large(
            lambda: {**shapes.function_object(function, project.slug, invocations, env_of(function)), **runs},
            status_code,
        )


async def _form(request: Request) -> dict[str, str]:
    # Nobody pays for it: what is as small as a request's head is not counted.
    with open_body(request, ProjectId(""), limit=_FORM_MAX_BYTES) as opened:
        body = await opened.whole()
    return {name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()}


def _since(value: str | None) -> int:
    try:
        return 0 if not value else parse_iso(value)
    except ValueError:
        raise InvalidInput("since must be a time such as 2026-01-31T12:00:00Z") from None


def _whole(name: str, value: str, *, least: int | None = None, most: int | None = None) -> int:
    """A number from a query. Raises InvalidInput."""
    try:
        number = int(value)
    except ValueError:
        raise InvalidInput(f"{name} must be a whole number") from None
    if (least is not None and number < least) or (most is not None and number > most):
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        raise InvalidInput(f"{name} must be {bounds}")
    return number


def _ndjson(name: str, calls: Sequence[Invocation], since_ms: int) -> list[str]:
    return [
        json.dumps({"name": name, "instance": call.id, "timestamp": iso(line.at_ms), "text": line.message}) + "\n"
        for call in calls
        for line in call.console
        if line.at_ms >= since_ms
    ]

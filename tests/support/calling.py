"""Calls functions by the text of their module: the invoker around the real runtime, without doors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from isolet.clock import SystemClock
from isolet.database import invocations as stored
from isolet.database.connection import Database
from isolet.domain.functions import ResponseMode
from isolet.domain.invocations import Door, Invocation
from isolet.domain.limits import Limits
from isolet.domain.own_keys import OwnKeys
from isolet.invoke.invoker import Invoker, Reply
from isolet.invoke.request import CallRequest
from isolet.observe.recorder import Recorder
from isolet.observe.redaction import Redaction
from isolet.routing.routes import Route
from isolet.runtime.pool import Pool
from isolet.runtime.spec import InstanceSpec
from isolet.tasks import Tasks
from tests.support.runtime import a_spec


class Harness(Struct):
    """Calls functions by the text of their module."""

    invoker: Invoker
    recorder: Recorder
    database: Database
    pool: Pool
    specs: dict[str, InstanceSpec] = field(default_factory=dict)

    def route(self, module: str, **limits: int) -> Route:
        spec = a_spec(module, limits=Limits(**limits))
        self.specs[spec.release] = spec
        return Route(
            function_id=spec.function_id,
            project_id=spec.project_id,
            name="Test",
            slug="test",
            version=1,
            release=spec.release,
            public=False,
            response_mode=ResponseMode.PASSTHROUGH,
            limits=spec.limits,
        )

    async def call(self, route: Route, body: bytes | AsyncIterator[bytes] = b"", **values: Any) -> Reply:
        known = {"door": Door.KAPSO, "method": b"POST", "target": b"/invoke?a=1", "path": "/invoke"}
        values["headers"] = [(b"host", b"isolet.example"), *values.get("headers", [])]
        async with asyncio.timeout(60):
            return await self.invoker.call(route, CallRequest(**{**known, "body": body, **values}))

    async def json(self, route: Route, body: bytes | AsyncIterator[bytes] = b"", **values: Any) -> Any:
        return json.loads(await (await self.call(route, body, **values)).read(1_000_000))

    async def record(self, route: Route) -> Invocation:
        """The record of the only call of a function."""
        found: list[Invocation] = []
        async with asyncio.timeout(60):
            while not found:
                await self.recorder.flush(10)
                found = await self.database.read(stored.list_invocations, route.function_id, limit=10)
        (invocation,) = found
        return invocation


@asynccontextmanager
async def a_harness(pool: Pool, database: Database, recorder: Recorder) -> AsyncIterator[Harness]:
    tasks = Tasks()
    tasks.loop(recorder.run(), name="recorder")

    specs: dict[str, InstanceSpec] = {}
    invoker = _invoker(pool, recorder, specs)
    try:
        yield Harness(invoker, recorder, database, pool, specs)
    finally:
        await invoker.close()
        await tasks.close()


@asynccontextmanager
async def with_short_hour(harness: Harness, reply_max_ms: int) -> AsyncIterator[Harness]:
    """The same, where a call with a caller may take no longer in all."""
    invoker = _invoker(harness.pool, harness.recorder, harness.specs, reply_max_ms=reply_max_ms)
    try:
        yield replace(harness, invoker=invoker)
    finally:
        await invoker.close()


def _invoker(pool: Pool, recorder: Recorder, specs: Mapping[str, InstanceSpec], **values: Any) -> Invoker:
    async def load(route: Route) -> InstanceSpec:
        return specs[route.release]

    return Invoker(
        pool=pool,
        recorder=recorder,
        clock=SystemClock(),
        load_spec=load,
        on_call=lambda: None,
        recording=Redaction("root-key-of-the-tests"),
        own_keys=OwnKeys("root-key-of-the-tests"),
        **values,
    )

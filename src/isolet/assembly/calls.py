"""The application that serves requests: the doors of calls behind their gates, and the platform's pages."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from isolet.access.rates import Rates
from isolet.api.altair.calls import AltairDoor
from isolet.api.butterbase.calls import ButterbaseCalls
from isolet.api.deferred import Asgi, Deferred
from isolet.api.gateway import Gateway
from isolet.api.kapso.calls import KapsoDoor
from isolet.api.origin_gate import OriginGate
from isolet.api.public.calls import PublicCalls
from isolet.api.rate_gate import RateGate
from isolet.assembly.core import Core, host_names
from isolet.domain.platform_pages import PlatformPages
from isolet.domain.projects import Plan
from isolet.routing.own_cors import OwnCors

if TYPE_CHECKING:
    from fastapi import FastAPI


def build_calls(core: Core, management: Deferred[FastAPI], pages: PlatformPages | None) -> OriginGate:
    """The application that serves every request. `pages` says where the platform's own pages are, if it shows any."""
    settings, routes, credentials = core.settings, core.routes, core.credentials
    own_cors = OwnCors(core.database)
    kapso = KapsoDoor(
        routes=routes,
        credentials=credentials,
        invoker=core.invoker,
        own_cors=own_cors,
        bodies=core.bodies,
        settings=settings,
    )
    calls = ButterbaseCalls(
        routes=routes,
        credentials=credentials,
        invoker=core.invoker,
        identities=core.identities,
        own_cors=own_cors,
        bodies=core.bodies,
        settings=settings,
    )
    altair = AltairDoor(
        routes=routes,
        credentials=credentials,
        invoker=core.invoker,
        jobs=core.jobs,
        bodies=core.bodies,
        settings=settings,
        addresses=core.addresses,
    )
    public = PublicCalls(
        routes=routes,
        credentials=credentials,
        invoker=core.invoker,
        identities=core.identities,
        bodies=core.bodies,
        recorder=core.recorder,
        clock=core.clock,
        hosts=host_names(settings),
        settings=settings,
    )
    limits = {Plan(name): limit for name, limit in settings.requests_a_minute.items()}
    rates = Rates(routes, limits, clock=time.monotonic)
    gateway = Gateway(kapso=kapso, butterbase=calls, altair=altair, public=public, management=management)
    return OriginGate(RateGate(gateway, rates=rates), pages=pages, is_own=public.is_own_host)


def management_of(core: Core, pages: PlatformPages | None) -> Deferred[FastAPI]:
    """Everything that is not a call of a function."""

    def make() -> FastAPI:
        from isolet.assembly.management import build_management  # noqa: PLC0415  # It takes half a second.

        return build_management(core, pages)

    return Deferred(make)


def pages_of(core: Core, pages: PlatformPages, management: Deferred[FastAPI]) -> Deferred[Asgi]:
    """What serves the platform's own pages."""

    async def describe() -> dict[str, Any]:
        return await asyncio.to_thread((await management.ready()).openapi)

    def make() -> Asgi:
        from isolet.dashboard.app import build  # noqa: PLC0415  # So does this.

        application: Asgi = build(pages, describe=describe, docs_assets=core.toolchain.docs_assets)
        return application

    return Deferred(make)

"""The platform's own pages over the services of `Core`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from isolet.access.open_requests import OpenRequests
from isolet.access.sessions import Sessions
from isolet.access.sign_in_links import SignInLinks
from isolet.api.deferred import Asgi, Deferred
from isolet.api.rate_gate import RateGate
from isolet.assembly.calls import Calls
from isolet.assembly.core import Core
from isolet.domain.platform_pages import PlatformPages
from isolet.domain.public_routes import plain_host

if TYPE_CHECKING:
    from fastapi import FastAPI


class Dashboard(Struct, frozen=True, kw_only=True):
    """`sign_in_url` is good once: it is for the operator, who sees the server's output."""

    app: Deferred[Asgi]
    sign_in_url: str


def open_dashboard(
    core: Core, pages: PlatformPages, management: Deferred[FastAPI], calls: Calls, *, connections_max: int
) -> Dashboard:
    """Its visitors may have `connections_max` open, and a project three quarters of them.

    A request of a page counts once, whatever the page asks of the API.
    """
    links = SignInLinks(core.host.clock)
    opening = OpenRequests(connections_max)
    routes, toolchain = core.registry.routes, core.host.toolchain
    sessions = Sessions(
        database=core.persistence.database, routes=routes, clock=core.host.clock, root_key=core.host.root_key
    )

    async def describe() -> dict[str, Any]:
        return await asyncio.to_thread((await management.ready()).openapi)

    def is_functions(host: bytes) -> bool:
        name = plain_host(host)
        return routes.at_host(name) is not None or core.registry.hosts.label_of(name) is not None

    def make() -> Asgi:
        from isolet.dashboard.app import build  # noqa: PLC0415  # It takes half a second.
        from isolet.dashboard.site import Desk  # noqa: PLC0415

        desk = Desk(
            pages=pages,
            calls=calls.gateway,
            lent_keys=core.projects.lent_keys,
            sessions=sessions,
            links=links,
            routes=routes,
            built=toolchain.dashboard_assets,
        )
        pages_app: Asgi = build(desk, describe=describe, docs_assets=toolchain.docs_assets, is_functions=is_functions)
        application: Asgi = RateGate(pages_app, rates=calls.rates, opening=opening)
        return application

    return Dashboard(app=Deferred(make), sign_in_url=f"{pages.base('')}/dashboard/login?code={links.make()}")

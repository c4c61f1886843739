"""The application that serves requests: the doors of calls behind their gates."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from isolet.access.open_requests import OpenRequests
from isolet.access.rates import Rates
from isolet.api.altair import access as altair_access
from isolet.api.altair.calls import AltairCalls
from isolet.api.butterbase import access as butterbase_access
from isolet.api.butterbase.calls import ButterbaseCalls
from isolet.api.deferred import Deferred
from isolet.api.gateway import Gateway
from isolet.api.kapso import access as kapso_access
from isolet.api.kapso.calls import KapsoCalls
from isolet.api.origin_gate import OriginGate
from isolet.api.public import access as public_access
from isolet.api.public.calls import PublicCalls
from isolet.api.rate_gate import RateGate
from isolet.assembly.core import Core
from isolet.assembly.feature import Feature
from isolet.domain.platform_pages import PlatformPages
from isolet.domain.projects import Plan
from isolet.routing.own_cors import OwnCors

if TYPE_CHECKING:
    from fastapi import FastAPI


class Calls(Struct, frozen=True, kw_only=True):
    """`served` is the application that serves every request; `gateway` the same without what strangers pass first.

    `rates` counts requests by the plans of their projects.
    """

    served: OriginGate
    gateway: Gateway
    rates: Rates


def build_calls(
    core: Core,
    features: Sequence[Feature],
    management: Deferred[FastAPI],
    pages: PlatformPages | None,
) -> Calls:
    """`pages` says where the platform's own pages are, if it shows any."""
    own_cors = OwnCors(core.persistence.database)
    public = _public(core, own_cors)
    limits = {Plan(name): limit for name, limit in core.host.settings.requests_a_minute.items()}
    rates = Rates(core.registry.routes, limits, clock=time.monotonic)
    gateway = Gateway(
        kapso=_kapso(core, own_cors),
        butterbase=_butterbase(core, own_cors),
        altair=_altair(core),
        public=public,
        management=management,
        beside=[find for feature in features for find in feature.calls(rates)],
    )
    opening = OpenRequests(core.host.connections_max)
    gate = OriginGate(RateGate(gateway, rates=rates, opening=opening), pages=pages, is_own=public.is_own_host)
    return Calls(served=gate, gateway=gateway, rates=rates)


def _kapso(core: Core, own_cors: OwnCors) -> KapsoCalls:
    return KapsoCalls(
        routes=core.registry.routes,
        callers=kapso_access.callers(core.projects.credentials),
        invoker=core.invoker,
        own_cors=own_cors,
        bodies=core.bodies,
        settings=core.host.settings,
    )


def _butterbase(core: Core, own_cors: OwnCors) -> ButterbaseCalls:
    return ButterbaseCalls(
        routes=core.registry.routes,
        callers=butterbase_access.callers(core.projects.credentials),
        invoker=core.invoker,
        identities=core.projects.identities,
        own_cors=own_cors,
        bodies=core.bodies,
        settings=core.host.settings,
    )


def _altair(core: Core) -> AltairCalls:
    return AltairCalls(
        routes=core.registry.routes,
        callers=altair_access.callers(core.projects.credentials),
        invoker=core.invoker,
        jobs=core.jobs.queue,
        bodies=core.bodies,
        settings=core.host.settings,
        addresses=core.runtime.addresses,
    )


def _public(core: Core, own_cors: OwnCors) -> PublicCalls:
    return PublicCalls(
        routes=core.registry.routes,
        callers=public_access.callers(core.projects.credentials),
        invoker=core.invoker,
        own_cors=own_cors,
        identities=core.projects.identities,
        bodies=core.bodies,
        recorder=core.observation.recorder,
        clock=core.host.clock,
        hosts=core.registry.hosts,
        settings=core.host.settings,
    )


def management_of(core: Core, features: Sequence[Feature], pages: PlatformPages | None) -> Deferred[FastAPI]:
    """Everything that is not a call of a function."""

    def make() -> FastAPI:
        from isolet.assembly.management import build_management  # noqa: PLC0415  # It takes half a second.

        return build_management(core, features, pages)

    return Deferred(make)

"""The front of the house: its doors over the services of the house, behind one gate."""

from __future__ import annotations

import time

from isolet.domain.projects import Plan
from isolet.doors.altair import AltairDoor
from isolet.doors.butterbase_call import ButterbaseCalls
from isolet.doors.deferred import Asgi, Deferred
from isolet.doors.gateway import Gateway
from isolet.doors.kapso import KapsoDoor
from isolet.doors.rate_gate import RateGate
from isolet.house import House
from isolet.invoke.rates import Rates


def build_front(house: House, management: Deferred) -> RateGate:
    """The application that serves every request."""
    settings = house.settings
    kapso = KapsoDoor(routes=house.routes, invoker=house.invoker, settings=settings)
    calls = ButterbaseCalls(routes=house.routes, invoker=house.invoker, identities=house.identities, settings=settings)
    altair = AltairDoor(
        routes=house.routes, tokens=house.tokens, invoker=house.invoker, jobs=house.jobs, settings=settings
    )
    limits = {Plan(name): limit for name, limit in settings.requests_a_minute.items()}
    rates = Rates(house.routes, limits, clock=time.monotonic)
    gateway = Gateway(kapso=kapso, butterbase=calls, altair=altair, management=management)
    return RateGate(gateway, routes=house.routes, rates=rates)


def management_of(house: House) -> Deferred:
    """Everything that is not a call of a function."""

    def make() -> Asgi:
        from isolet.management import build_management  # noqa: PLC0415  # It takes half a second.

        return build_management(house)

    return Deferred(make)

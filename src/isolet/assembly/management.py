"""The management application over the services of `Core`: every route that is not a call of a function.

Its web framework takes half a second to load, so nothing that the server starts with may import this module.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from msgspec import Struct

from isolet import __version__
from isolet.access.authorization import Authorizer
from isolet.access.callers import Callers
from isolet.access.credentials import Source
from isolet.access.owners import Owners
from isolet.api import management
from isolet.api.altair import access as altair_access
from isolet.api.altair.calls import PREFIX as ALTAIR
from isolet.api.altair.functions import AltairFunctions, AltairTokens
from isolet.api.altair.triggers import AltairTriggers
from isolet.api.butterbase import access as butterbase_access
from isolet.api.butterbase.calls import PREFIX as BUTTERBASE
from isolet.api.butterbase.functions import ButterbaseFunctions
from isolet.api.butterbase.identity import anonymous_again, told_again
from isolet.api.kapso import access as kapso_access
from isolet.api.kapso.calls import OLDER, PLATFORM, TAGS
from isolet.api.kapso.functions import KapsoFunctions, OlderKapsoFunctions
from isolet.api.metrics import MetricsDoor
from isolet.api.native import PREFIX as NATIVE
from isolet.api.native.deliveries import DeliveriesDoor
from isolet.api.native.functions import FunctionsDoor
from isolet.api.native.invocations import InvocationsDoor
from isolet.api.native.limits import LimitsDoor
from isolet.api.native.named_functions import NamedFunctionsDoor
from isolet.api.native.projects import ProjectsDoor
from isolet.api.native.records import RecordsDoor
from isolet.api.native.tokens import TokenDoor
from isolet.api.rows import LaterRoute, routes_of
from isolet.assembly.core import Core
from isolet.assembly.feature import Feature
from isolet.domain.invocations import Door
from isolet.domain.platform_pages import PlatformPages
from isolet.functions.space_triggers import SpaceTriggers
from isolet.invocations import Invocations
from isolet.invoke.replay import Replays
from isolet.observe.call_history import CallHistory
from isolet.observe.series import Series
from isolet.observe.usage_stats import UsageStats

# The doors that tell functions who calls.
_AGAIN = {Door.BUTTERBASE: told_again, Door.PUBLIC: anonymous_again}


class Services(Struct, frozen=True, kw_only=True):
    """What only management routes need, beside the core."""

    authorizer: Authorizer
    records: CallHistory
    usage: UsageStats
    series: Series


def build_management(core: Core, features: Sequence[Feature], pages: PlatformPages | None) -> FastAPI:
    """`pages` says where the platform's own pages are, if it shows any."""
    database, observation = core.persistence.database, core.observation
    native = Callers(credentials=core.projects.credentials, sources=(Source.API_KEY, Source.BEARER))
    services = Services(
        authorizer=_authorizer(core, native),
        records=CallHistory(database, observation.recorder),
        series=Series(database, observation.recorder, core.host.clock),
        usage=UsageStats(database, observation.recorder, core.host.clock, core.runtime.storages.sizes),
    )
    doors = [*_native(core, services), *(door for feature in features for door in feature.doors())]
    return management.build(
        [
            *_kapso(core, services, features),
            *(routes_of(door, services.authorizer, NATIVE) for door in doors),
            *_butterbase(core, services, [door for feature in features for door in feature.app_doors()]),
            *_altair(core, services),
            [_metrics(core, services, features)],
        ],
        health=lambda: {
            "status": "ok",
            "version": __version__,
            "sandbox": core.host.settings.sandbox,
            "jobs": {"held": core.jobs.engine.held.jobs},
            "schedules": {"held": core.jobs.engine.held.schedules},
            "records": {"lost": observation.recorder.lost, "waiting": observation.recorder.waiting},
        },
        pages=pages,
        bodies=core.bodies,
    )


def _authorizer(core: Core, callers: Callers) -> Authorizer:
    owners = Owners(core.persistence.database)
    return Authorizer(callers, core.registry.routes, core.functions.service, owners)


def _kapso(core: Core, services: Services, features: Sequence[Feature]) -> list[list[LaterRoute]]:
    credentials = core.projects.credentials
    authorizers = {
        prefix: _authorizer(core, kapso_access.callers(credentials, bearer=prefix == OLDER))
        for prefix in (PLATFORM, OLDER)
    }

    def doors(prefix: str) -> list[object]:
        shared = KapsoFunctions(
            functions=core.functions.service,
            deployer=core.functions.deployer,
            secrets=core.functions.secrets,
            records=services.records,
            settings=core.host.settings,
            prefix=prefix,
        )
        own = [shared, OlderKapsoFunctions(functions=shared)] if prefix == OLDER else [shared]
        return [*own, *(door for feature in features for door in feature.kapso_doors(prefix))]

    return [
        routes_of(door, authorizer, prefix, tags=[TAGS[prefix]])
        for prefix, authorizer in authorizers.items()
        for door in doors(prefix)
    ]


def _butterbase(core: Core, services: Services, beside: Sequence[object]) -> list[list[LaterRoute]]:
    authorizer = _authorizer(core, butterbase_access.callers(core.projects.credentials))
    door = ButterbaseFunctions(
        authorizer=authorizer,
        routes=core.registry.routes,
        functions=core.functions.service,
        publisher=core.functions.publisher,
        environments=core.functions.environments,
        records=services.records,
        metrics=services.usage,
        tail=core.observation.tail,
        settings=core.host.settings,
        clock=core.host.clock,
    )
    return [routes_of(one, authorizer, BUTTERBASE + "/{app_id}", tags=["Butterbase"]) for one in (door, *beside)]


def _altair(core: Core, services: Services) -> list[list[LaterRoute]]:
    tokens = AltairTokens(credentials=core.projects.credentials, tokens=core.projects.tokens)
    door = AltairFunctions(
        routes=core.registry.routes,
        functions=core.functions.service,
        publisher=core.functions.publisher,
        records=services.records,
        metrics=services.usage,
        settings=core.host.settings,
    )
    authorizer = _authorizer(core, altair_access.callers(core.projects.credentials))
    spaces = SpaceTriggers(
        database=core.persistence.database,
        events=core.registry.changes,
        clock=core.host.clock,
        current=core.registry.routes.project_of,
    )
    triggers = AltairTriggers(triggers=spaces, settings=core.host.settings)
    doors = [routes_of(one, authorizer, ALTAIR + "{space}", tags=["Altair"]) for one in (door, triggers)]
    return [tokens.routes(), *doors]


def _native(core: Core, services: Services) -> list[object]:
    """Doors whose methods have rows."""
    routes, settings = core.registry.routes, core.host.settings
    jobs = core.jobs.queue
    invocations = Invocations(records=services.records, jobs=jobs, replays=Replays(routes, core.invoker, _AGAIN))
    return [
        ProjectsDoor(
            routes=routes,
            projects=core.projects.service,
            masters=core.persistence.master_keys,
            key_uses=core.projects.key_uses,
        ),
        FunctionsDoor(functions=core.functions.service, deployer=core.functions.deployer, series=services.series),
        NamedFunctionsDoor(
            functions=core.functions.service,
            named=core.functions.named,
            deployer=core.functions.deployer,
            secrets=core.functions.secrets,
            environments=core.functions.environments,
        ),
        TokenDoor(identities=core.projects.identities),
        LimitsDoor(routes=routes, settings=settings),
        RecordsDoor(
            authorizer=services.authorizer,
            routes=routes,
            records=services.records,
            tail=core.observation.tail,
            usage_stats=services.usage,
            series=services.series,
        ),
        InvocationsDoor(routes=routes, invocations=invocations, jobs=jobs),
        DeliveriesDoor(routes=routes, jobs=jobs, secrets=core.jobs.webhook_secrets),
    ]


def _metrics(core: Core, services: Services, features: Sequence[Feature]) -> LaterRoute:
    return MetricsDoor(
        authorizer=services.authorizer,
        routes=core.registry.routes,
        recorder=core.observation.recorder,
        tail=core.observation.tail,
        jobs=core.jobs.engine.counts,
        instances=lambda: core.runtime.pool.instances,
        public=core.host.settings.metrics_public,
        figures=lambda: [figure for feature in features for figure in feature.figures()],
    ).route()

"""The management application over the services of `Core`: every route that is not a call of a function.

Its web framework takes half a second to load, so nothing that the server starts with may import this module.
"""

from __future__ import annotations

from fastapi import FastAPI

from isolet import __version__
from isolet.access.authorization import Authorizer
from isolet.access.credentials import Source
from isolet.api import management
from isolet.api.altair.functions import AltairFunctions
from isolet.api.butterbase.functions import ButterbaseDoor
from isolet.api.kapso.calls import OLDER, PLATFORM
from isolet.api.kapso.functions import KapsoFunctions
from isolet.api.metrics import MetricsDoor
from isolet.api.native import PREFIX as NATIVE
from isolet.api.native.deliveries import DeliveriesDoor
from isolet.api.native.functions import FunctionsDoor
from isolet.api.native.invocations import InvocationsDoor
from isolet.api.native.limits import LimitsDoor
from isolet.api.native.project_data import StorageDoor
from isolet.api.native.projects import ProjectsDoor
from isolet.api.native.records import RecordsDoor
from isolet.api.native.tokens import TokenDoor
from isolet.api.rows import router_of
from isolet.assembly.core import Core
from isolet.domain.platform_pages import PlatformPages
from isolet.invocations import Invocations
from isolet.invoke.replay import Replays
from isolet.observe.call_history import CallHistory
from isolet.observe.usage_stats import UsageStats
from isolet.project_data.kv import Kv
from isolet.project_data.sql import Sql


def build_management(core: Core, pages: PlatformPages | None) -> FastAPI:
    """`pages` says where the platform's own pages are, if it shows any."""
    settings = core.settings
    access = Authorizer(core.credentials, (Source.API_KEY, Source.BEARER), core.routes, core.functions)
    records = CallHistory(core.database, core.recorder)
    figures = UsageStats(core.database, core.recorder, core.clock, core.storages.data)
    kapso = KapsoFunctions(
        routes=core.routes,
        credentials=core.credentials,
        functions=core.functions,
        deployer=core.deployer,
        secrets=core.secrets,
        records=records,
        settings=settings,
    )
    butterbase = ButterbaseDoor(
        routes=core.routes,
        credentials=core.credentials,
        functions=core.functions,
        publisher=core.publisher,
        environments=core.environments,
        records=records,
        metrics=figures,
        tail=core.tail,
        settings=settings,
        clock=core.clock,
    )
    spaces = AltairFunctions(
        routes=core.routes,
        credentials=core.credentials,
        tokens=core.tokens,
        functions=core.functions,
        deployer=core.deployer,
        records=records,
        metrics=figures,
        settings=settings,
    )
    invocations = Invocations(records=records, jobs=core.jobs, replays=Replays(core.routes, core.invoker))
    native = (
        ProjectsDoor(routes=core.routes, projects=core.projects, masters=core.masters),
        FunctionsDoor(functions=core.functions, deployer=core.deployer),
        StorageDoor(kv=Kv(core.storages), sql=Sql(core.storages), backups=core.backups, settings=settings),
        TokenDoor(identities=core.identities),
        LimitsDoor(routes=core.routes, settings=settings),
        RecordsDoor(
            authorizer=access,
            routes=core.routes,
            records=records,
            tail=core.tail,
            usage_stats=figures,
        ),
        InvocationsDoor(routes=core.routes, invocations=invocations, jobs=core.jobs),
        DeliveriesDoor(routes=core.routes, jobs=core.jobs, secrets=core.webhook_secrets),
    )
    metrics = MetricsDoor(
        authorizer=access,
        routes=core.routes,
        recorder=core.recorder,
        tail=core.tail,
        jobs=core.jobs,
        instances=lambda: core.pool.instances,
        public=settings.metrics_public,
    )
    return management.build(
        [
            kapso.router(PLATFORM),
            kapso.router(OLDER),
            *(router_of(door, access, NATIVE) for door in native),
            butterbase.router(),
            spaces.router(),
            metrics.router(),
        ],
        health=lambda: {
            "status": "ok",
            "version": __version__,
            "sandbox": settings.sandbox,
            "jobs": {"held": core.jobs.held},
            "records": {"lost": core.recorder.lost, "waiting": core.recorder.waiting},
        },
        pages=pages,
        bodies=core.bodies,
    )

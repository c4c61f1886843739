"""The management application over the services of the house: every route that is not a call of a function.

Its web framework takes half a second to load, so nothing that the server starts with may import this module.
"""

from __future__ import annotations

from fastapi import FastAPI

from isolet import __version__
from isolet.api import management
from isolet.api.altair.functions import AltairFunctions
from isolet.api.butterbase.functions import ButterbaseDoor
from isolet.api.kapso.calls import OLDER, PLATFORM
from isolet.api.kapso.functions import KapsoFunctions
from isolet.api.metrics import MetricsDoor
from isolet.api.native.access import NativeAccess
from isolet.api.native.jobs import NativeJobs
from isolet.api.native.limits import LimitsDoor
from isolet.api.native.project_data import StorageDoor
from isolet.api.native.projects import NativeDoor
from isolet.api.native.records import RecordsDoor
from isolet.api.native.tokens import TokenDoor
from isolet.assembly.core import House
from isolet.domain.platform_pages import PlatformPages
from isolet.invoke.replay import Replays
from isolet.observe.call_history import Records
from isolet.observe.usage_stats import Metrics
from isolet.project_data.kv import Kv
from isolet.project_data.sql import Sql


def build_management(house: House, pages: PlatformPages | None) -> FastAPI:
    """`pages` says where the platform's own pages are, if it shows any."""
    settings, access = house.settings, NativeAccess(house.routes, house.credentials)
    records = Records(house.database, house.recorder)
    figures = Metrics(house.database, house.recorder, house.clock, house.storages.data)
    kapso = KapsoFunctions(
        routes=house.routes,
        credentials=house.credentials,
        functions=house.functions,
        deployer=house.deployer,
        secrets=house.secrets,
        records=records,
        settings=settings,
    )
    butterbase = ButterbaseDoor(
        routes=house.routes,
        credentials=house.credentials,
        functions=house.functions,
        publisher=house.publisher,
        environments=house.environments,
        records=records,
        metrics=figures,
        tail=house.tail,
        settings=settings,
        clock=house.clock,
    )
    tokens = TokenDoor(access=access, identities=house.identities)
    native = NativeDoor(
        access=access,
        projects=house.projects,
        functions=house.functions,
        deployer=house.deployer,
        masters=house.masters,
    )
    storage = StorageDoor(
        access=access,
        kv=Kv(house.storages),
        sql=Sql(house.storages),
        backups=house.backups,
        settings=settings,
    )
    spaces = AltairFunctions(
        routes=house.routes,
        credentials=house.credentials,
        tokens=house.tokens,
        functions=house.functions,
        deployer=house.deployer,
        records=records,
        metrics=figures,
        settings=settings,
    )
    jobs = NativeJobs(access=access, jobs=house.jobs, records=records, secrets=house.webhook_secrets)
    watched = RecordsDoor(
        access=access,
        functions=house.functions,
        records=records,
        jobs=jobs,
        replays=Replays(house.routes, house.invoker),
        tail=house.tail,
        metrics=figures,
    )
    metrics = MetricsDoor(
        access=access,
        routes=house.routes,
        recorder=house.recorder,
        tail=house.tail,
        jobs=house.jobs,
        instances=lambda: house.pool.instances,
        public=settings.metrics_public,
    )
    routers = [kapso.router(PLATFORM), kapso.router(OLDER), native.router(), storage.router()]
    return management.build(
        [
            *routers,
            butterbase.router(),
            spaces.router(),
            tokens.router(),
            LimitsDoor(access=access, settings=settings).router(),
            watched.router(),
            jobs.router(),
            metrics.router(),
        ],
        health=lambda: {
            "status": "ok",
            "version": __version__,
            "sandbox": settings.sandbox,
            "jobs": {"held": house.jobs.held},
            "records": {"lost": house.recorder.lost, "waiting": house.recorder.waiting},
        },
        pages=pages,
        bodies=house.bodies,
    )

"""The management application over the services of the house: every route that is not a call of a function.

Its web framework takes half a second to load, so nothing that the server starts with may import this module.
"""

from __future__ import annotations

from fastapi import FastAPI

from isolet import __version__
from isolet.domain.platform_pages import PlatformPages
from isolet.doors import management
from isolet.doors.altair_functions import AltairFunctions
from isolet.doors.butterbase import ButterbaseDoor
from isolet.doors.kapso import OLDER, PLATFORM
from isolet.doors.kapso_functions import KapsoFunctions
from isolet.doors.metrics import MetricsDoor
from isolet.doors.native import NativeDoor
from isolet.doors.native_access import NativeAccess
from isolet.doors.native_jobs import NativeJobs
from isolet.doors.native_limits import LimitsDoor
from isolet.doors.native_records import RecordsDoor
from isolet.doors.native_storage import StorageDoor
from isolet.doors.native_tokens import TokenDoor
from isolet.house import House
from isolet.invoke.metrics import Metrics
from isolet.invoke.records import Records
from isolet.invoke.replay import Replays
from isolet.storage.kv import Kv
from isolet.storage.sql import Sql


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

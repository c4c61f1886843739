"""Schedules: their kind of jobs, what looks for due times, and the native API of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from isolet.assembly.core import Core
from isolet.assembly.feature import Feature, Figure
from isolet.assembly.limits import settings_room
from isolet.database.due_times import CRON
from isolet.schedules.firings import Firings
from isolet.schedules.scheduler import Scheduler
from isolet.schedules.service import Schedules


def open_schedules(core: Core) -> Feature:
    database, clock, routes, engine = core.persistence.database, core.host.clock, core.registry.routes, core.jobs.engine
    flows = core.registry.flow_starts
    firings = Firings(
        database=database,
        routes=routes,
        find=core.projects.follower.find,
        invoker=core.invoker,
        flows=flows,
        clock=clock,
    )
    engine.register(CRON, firings, capacity=core.host.settings.job_concurrency)
    scheduler = Scheduler(database=database, engine=engine, clock=clock)
    core.registry.changes.add(scheduler.follow)
    schedules = Schedules(
        database=database,
        engine=engine,
        scheduler=scheduler,
        clock=clock,
        flows=flows,
        most=lambda project_id: routes.limits_of(project_id).schedules,
        room=partial(settings_room, routes),
    )

    async def start() -> None:
        # Jobs have started, so that what a copy of a database must not run is held.
        core.host.loops.loop(scheduler.run(), name="schedules")

    def doors() -> Sequence[object]:
        # It loads the web framework.
        from isolet.api.native.schedules import SchedulesDoor  # noqa: PLC0415

        return [SchedulesDoor(routes=routes, schedules=schedules)]

    def figures() -> Sequence[Figure]:
        missed, lag_s = scheduler.missed_total, scheduler.lag_ms / 1000
        return [
            Figure(name="isolet_schedule_missed", text="Due times that were not run.", value=missed, counts=True),
            Figure(name="isolet_schedule_lag_seconds", text="How late the latest due time was found.", value=lag_s),
        ]

    return Feature(doors=doors, start=start, figures=figures)

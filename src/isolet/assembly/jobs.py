"""The job engine, and its first two kinds: asynchronous calls and the deliveries of their callbacks."""

from __future__ import annotations

from msgspec import Struct

from isolet import datadir
from isolet.api.altair import errors as altair_errors
from isolet.assembly.host import Host
from isolet.assembly.persistence import Persistence
from isolet.assembly.projects import ProjectServices
from isolet.assembly.registry import Registry
from isolet.assembly.runtime import Runtime
from isolet.domain.http_jobs import CALL, CALLBACK
from isolet.invoke.invoker import Invoker
from isolet.jobs.calls import Calls
from isolet.jobs.deliveries import Deliveries
from isolet.jobs.engine import Engine
from isolet.jobs.queue import Jobs
from isolet.jobs.webhook_secrets import WebhookSecrets
from isolet.telemetry import get_logger

log = get_logger("jobs")

_MB = 1024 * 1024


# A server that stops waits so long for deliveries: who is slow to answer gets the callback again.
_DELIVERY_DRAIN_S = 5.0


class JobServices(Struct, frozen=True, kw_only=True):
    """Features register kinds of their own with `engine` before it starts."""

    engine: Engine
    queue: Jobs
    webhook_secrets: WebhookSecrets


def open_jobs(
    host: Host,
    persistence: Persistence,
    registry: Registry,
    runtime: Runtime,
    projects: ProjectServices,
    invoker: Invoker,
) -> JobServices:
    """No job runs before `start_jobs`."""
    database, clock, settings = persistence.database, host.clock, host.settings
    engine = _make_engine(host, persistence, registry, runtime)
    webhook_secrets = WebhookSecrets(database=database, vault=persistence.vault, clock=clock)
    deliveries = Deliveries(
        egresses=runtime.egresses,
        secrets=webhook_secrets,
        clock=clock,
        schedule_s=settings.callback_schedule,
        timeout_s=settings.callback_timeout_s,
        host_limit=settings.callback_host_concurrency,
    )
    calls = Calls(
        routes=registry.routes,
        find=projects.follower.find,
        invoker=invoker,
        clock=clock,
        tell=altair_errors.failure,
        is_held_back=engine.backlog.is_held_back,
    )
    engine.register(
        CALLBACK, deliveries, capacity=settings.callback_concurrency, drain_max_s=_DELIVERY_DRAIN_S, follows=True
    )
    engine.register(CALL, calls, capacity=settings.job_concurrency)
    registry.cleanup.add(engine.delete_project)
    queue = Jobs(engine=engine, database=database, clock=clock)
    return JobServices(engine=engine, queue=queue, webhook_secrets=webhook_secrets)


def _make_engine(host: Host, persistence: Persistence, registry: Registry, runtime: Runtime) -> Engine:
    settings = host.settings
    server = datadir.server_name(host.folder)
    if server.copied:
        log.warning("this data directory is a copy, or was moved: the server takes a name of its own")
    return Engine(
        database=persistence.database,
        clock=host.clock,
        owner=server.name,
        retention_ms=round(settings.result_retention_h * 3_600_000),
        limits_of=registry.routes.limits_of,
        memory_bytes=max(settings.job_memory_mb, 2 * settings.max_body_mb) * _MB,
        crash_limit=settings.job_crash_limit,
        copied=runtime.is_copy,
        adopt=settings.adopt,
    )


async def start_jobs(host: Host, jobs: JobServices) -> None:
    await jobs.engine.start(host.loops)
    host.stack.push_async_callback(jobs.engine.drain, host.settings.drain_timeout_s)

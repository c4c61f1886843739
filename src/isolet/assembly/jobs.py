"""The durable queue of asynchronous calls and callbacks."""

from __future__ import annotations

from dataclasses import dataclass

from isolet import datadir
from isolet.api.altair import errors as altair_errors
from isolet.assembly.host import Host
from isolet.assembly.persistence import Persistence
from isolet.assembly.projects import ProjectServices
from isolet.assembly.registry import Registry
from isolet.assembly.runtime import Runtime
from isolet.invoke.invoker import Invoker
from isolet.jobs.calls import Calls
from isolet.jobs.deliveries import Deliveries
from isolet.jobs.queue import Jobs
from isolet.jobs.webhook_secrets import WebhookSecrets
from isolet.telemetry import get_logger

log = get_logger("jobs")

_MB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class JobServices:
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
    server = datadir.server_name(host.folder)
    if server.copied:
        log.warning("this data directory is a copy, or was moved: the server takes a name of its own")
    webhook_secrets = WebhookSecrets(database=database, vault=persistence.vault, clock=clock)
    queue = Jobs(
        database=database,
        clock=clock,
        owner=server.name,
        calls=Calls(
            routes=registry.routes,
            find=projects.follower.find,
            invoker=invoker,
            clock=clock,
            tell=altair_errors.failure,
        ),
        deliveries=Deliveries(
            egresses=runtime.egresses,
            secrets=webhook_secrets,
            clock=clock,
            schedule_s=settings.callback_schedule,
            timeout_s=settings.callback_timeout_s,
            host_limit=settings.callback_host_concurrency,
        ),
        call_capacity=settings.job_concurrency,
        delivery_capacity=settings.callback_concurrency,
        retention_ms=round(settings.result_retention_h * 3_600_000),
        limits_of=registry.routes.limits_of,
        memory_bytes=max(settings.job_memory_mb, 2 * settings.max_body_mb) * _MB,
        crash_limit=settings.job_crash_limit,
        copied=runtime.is_copy,
        adopt=settings.adopt,
    )
    registry.cleanup.add(queue.delete_project)
    return JobServices(queue=queue, webhook_secrets=webhook_secrets)


async def start_jobs(host: Host, jobs: JobServices) -> None:
    await jobs.queue.start(host.loops)
    host.stack.push_async_callback(jobs.queue.drain, host.settings.drain_timeout_s)

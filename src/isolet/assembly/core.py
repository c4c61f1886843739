"""The composition root: settings to services, from the lowest layer up."""

from __future__ import annotations

from msgspec import Struct

from isolet.api.butterbase.loopback import Loopback
from isolet.assembly.functions import FunctionServices, open_functions
from isolet.assembly.host import Host
from isolet.assembly.invoke import open_bodies, open_invoker, serve_loopback
from isolet.assembly.jobs import JobServices, open_jobs, start_jobs
from isolet.assembly.observation import Observation, open_observation
from isolet.assembly.persistence import Persistence, open_persistence
from isolet.assembly.projects import ProjectServices, open_projects
from isolet.assembly.registry import Registry, make_registry
from isolet.assembly.runtime import Runtime, open_runtime
from isolet.domain.functions import Function
from isolet.functions.example import ensure_example
from isolet.functions.health import Health
from isolet.invoke.bodies import Bodies
from isolet.invoke.invoker import Invoker
from isolet.observe.counters import Counters


class Core(Struct, frozen=True, kw_only=True):
    """All that the applications and the features of a server are made of."""

    host: Host
    registry: Registry
    bodies: Bodies
    persistence: Persistence
    observation: Observation
    runtime: Runtime
    functions: FunctionServices
    projects: ProjectServices
    invoker: Invoker
    jobs: JobServices
    loopback: Loopback


async def open_core(host: Host) -> Core:
    """Open the parts in this order; the host's stack closes them in reverse. Nothing runs before `start_core`."""
    counters = Counters()
    registry = make_registry(host, counters)
    bodies = open_bodies(host)
    persistence = await open_persistence(host)
    health = Health(persistence.database, registry.changes, host.clock)
    host.stack.push_async_callback(health.close)
    host.stack.push_async_callback(host.loops.close)
    observation = open_observation(host, persistence, registry.routes, counters)
    registry.cleanup.add(observation.recorder.forget)
    runtime = await open_runtime(host, registry, observation, health)
    functions = open_functions(host, persistence, registry, runtime)
    projects = await open_projects(host, persistence, registry, runtime)
    invoker = open_invoker(host, observation, runtime, functions, projects)
    loopback = serve_loopback(host, registry.routes, runtime, invoker, bodies)
    jobs = open_jobs(host, persistence, registry, runtime, projects, invoker)
    return Core(
        host=host,
        registry=registry,
        bodies=bodies,
        persistence=persistence,
        observation=observation,
        runtime=runtime,
        functions=functions,
        projects=projects,
        invoker=invoker,
        jobs=jobs,
        loopback=loopback,
    )


async def start_core(core: Core) -> None:
    """Go on with what an earlier run of the server left: what was half deleted, deploys, then jobs."""
    core.host.loops.loop(core.projects.follower.run(), name="follower")
    core.host.loops.loop(core.projects.leftovers.run(), name="leftovers")
    await core.functions.deployer.resume()
    core.host.loops.loop(core.functions.deployer.follow(), name="deploys")
    await start_jobs(core.host, core.jobs)


def cut(core: Core) -> None:
    """Wait for no call any more: jobs are handed back first, so that they go on at the next start."""
    core.jobs.engine.cut()
    core.runtime.pool.cut()


async def make_example(core: Core) -> Function:
    """The example function, deployed."""
    return await ensure_example(
        core.functions.service, core.functions.deployer, core.registry.routes.default_project.id
    )

"""Calls of functions: the invoker, what the bodies of requests take, and the socket for calls between functions."""

from __future__ import annotations

from urllib.parse import urlsplit

from isolet.access.open_requests import OpenRequests
from isolet.api.butterbase.loopback import Loopback
from isolet.assembly.functions import FunctionServices
from isolet.assembly.host import Host, serve_beside
from isolet.assembly.observation import Observation
from isolet.assembly.projects import ProjectServices
from isolet.assembly.runtime import Runtime
from isolet.domain.own_keys import OwnKeys
from isolet.errors import FunctionCrashed
from isolet.invoke.bodies import Bodies
from isolet.invoke.invoker import Invoker
from isolet.routing.routes import Route, Routes
from isolet.runtime.spec import InstanceSpec

_MB = 1024 * 1024


def open_bodies(host: Host) -> Bodies:
    bodies = Bodies(
        memory_bytes=host.settings.body_memory_mb * _MB,
        disk_bytes=host.settings.body_disk_mb * _MB,
        folder=host.folder / "spool",
    )
    host.stack.callback(bodies.close)
    return bodies


def open_invoker(
    host: Host,
    observation: Observation,
    runtime: Runtime,
    functions: FunctionServices,
    projects: ProjectServices,
) -> Invoker:
    async def load_spec(route: Route) -> InstanceSpec:
        if route.version is None:
            raise FunctionCrashed("the function has no live version")
        return await functions.releases.load(route.function_id, route.version)

    invoker = Invoker(
        pool=runtime.pool,
        recorder=observation.recorder,
        clock=host.clock,
        load_spec=load_spec,
        on_call=runtime.guard.wake,
        recording=observation.redaction,
        own_keys=OwnKeys(host.root_key, is_known=projects.credentials.is_known),
        sandbox_pages=host.settings.shared_pages == "sandboxed",
        base_path=urlsplit(host.settings.public_url or "").path.rstrip("/").encode(),
        on_refused=observation.failures.refused,
    )
    host.stack.push_async_callback(invoker.close)
    return invoker


def serve_loopback(host: Host, routes: Routes, runtime: Runtime, invoker: Invoker, bodies: Bodies) -> Loopback:
    """Where functions call other functions; it stops before the instances do."""
    # Each connection takes a descriptor, too: functions get half as many as callers.
    most = max(host.connections_max // 2, 1)
    app = Loopback(
        routes=routes,
        invoker=invoker,
        instance_of=runtime.instance_of,
        bodies=bodies,
        settings=host.settings,
        opening=OpenRequests(most),
    )
    serve_beside(app, runtime.loopback, name="loopback", stack=host.stack, connections_max=most)
    return app

"""What the server knows of functions, projects and keys in memory, and who follows their changes."""

from __future__ import annotations

from msgspec import Struct

from isolet.assembly.host import Host
from isolet.assembly.limits import project_limits
from isolet.domain.changes import Change
from isolet.domain.public_routes import HostNames, host_of
from isolet.listeners import Listeners
from isolet.observe.counters import Counters
from isolet.projects.cleanup import Cleanup
from isolet.routing.routes import Routes
from isolet.schedules.flow_starts import FlowStarts
from isolet.settings import Settings


class Registry(Struct, frozen=True, kw_only=True):
    """`changes` tells its listeners of each change; `cleanup` has what is dropped with a project, and may wait.

    `flow_starts` is how schedules begin runs of workflows. `hosts` says which host names are functions', and which are
    the server's own.
    """

    routes: Routes
    hosts: HostNames
    changes: Listeners[Change]
    cleanup: Cleanup
    flow_starts: FlowStarts


def make_registry(host: Host, counters: Counters) -> Registry:
    routes = Routes(
        host.root_key,
        project_limits(host.settings),
        clock=host.clock,
        egress_networks=host.settings.egress_networks,
        on_drop=counters.forget,
    )
    # The routes first, so that the others find in them what changed.
    return Registry(
        routes=routes,
        hosts=_host_names(host.settings),
        changes=Listeners(routes.follow),
        cleanup=Cleanup(),
        flow_starts=FlowStarts(),
    )


def _host_names(settings: Settings) -> HostNames:
    own = {host_of(settings.public_url), host_of(settings.dashboard_url)}
    return HostNames(
        domain=settings.domain_of_functions,
        reserved=frozenset(host for host in own if host is not None),
        # On a loopback address it is asked by that, or by a proxy whose names are the operator's to tell.
        knows_itself=settings.public_url is not None or settings.is_local,
    )

"""Functions: their code, secrets and variables, and how they are deployed."""

from __future__ import annotations

from functools import partial

from msgspec import Struct

from isolet.api.butterbase.context import context_of
from isolet.assembly.host import Host
from isolet.assembly.limits import settings_room
from isolet.assembly.persistence import Persistence
from isolet.assembly.registry import Registry
from isolet.assembly.runtime import Runtime
from isolet.compile import Compiler
from isolet.functions.deploy import Deployer
from isolet.functions.environment import Environments
from isolet.functions.named import NamedFunctions
from isolet.functions.pending_changes import PendingChanges
from isolet.functions.publisher import Publisher
from isolet.functions.releases import Releases
from isolet.functions.secrets import Secrets
from isolet.functions.service import Functions
from isolet.functions.tool_checks import ToolChecks
from isolet.ids import ProjectId
from isolet.routing.routes import Routes

_MIB = 1024 * 1024


class FunctionServices(Struct, frozen=True, kw_only=True):
    service: Functions
    secrets: Secrets
    environments: Environments
    deployer: Deployer
    publisher: Publisher
    releases: Releases
    named: NamedFunctions
    checks: ToolChecks


def open_functions(host: Host, persistence: Persistence, registry: Registry, runtime: Runtime) -> FunctionServices:
    database, vault, pool, clock = persistence.database, persistence.vault, runtime.pool, host.clock
    releases = Releases(database, vault, context_of=partial(context_of, api_url=host.url))
    settling = PendingChanges()
    checks = ToolChecks()
    room = partial(settings_room, registry.routes)
    service = Functions(
        database=database,
        pool=pool,
        events=registry.changes,
        clock=clock,
        settling=settling,
        vault=vault,
        most=lambda project_id: registry.routes.limits_of(project_id).functions,
        most_schedules=lambda project_id: registry.routes.limits_of(project_id).schedules,
        code_room=partial(_code_room, registry.routes),
        settings_room=room,
        hosts=registry.hosts,
        checks=checks,
    )
    compiler = Compiler(host.toolchain.esbuild, wrap=host.sandbox.tool)
    deployer = _open_deployer(host, persistence, registry, runtime, compiler, releases, settling)
    environments = Environments(
        database=database, vault=vault, pool=pool, events=registry.changes, clock=clock, room=room
    )
    publisher = Publisher(
        database=database,
        compiler=compiler,
        functions=service,
        deployer=deployer,
        environments=environments,
        clock=clock,
    )
    registry.cleanup.add(vault.forget)
    return FunctionServices(
        service=service,
        secrets=Secrets(database=database, vault=vault, pool=pool, events=registry.changes, clock=clock, room=room),
        environments=environments,
        deployer=deployer,
        publisher=publisher,
        releases=releases,
        named=NamedFunctions(functions=service, deployer=deployer, environments=environments),
        checks=checks,
    )


def _open_deployer(
    host: Host,
    persistence: Persistence,
    registry: Registry,
    runtime: Runtime,
    compiler: Compiler,
    releases: Releases,
    settling: PendingChanges,
) -> Deployer:
    deployer = Deployer(
        database=persistence.database,
        compiler=compiler,
        pool=runtime.pool,
        releases=releases,
        events=registry.changes,
        clock=host.clock,
        settling=settling,
        code_room=partial(_code_room, registry.routes),
    )
    host.stack.push_async_callback(deployer.close)
    return deployer


def _code_room(routes: Routes, project_id: ProjectId) -> int | None:
    return routes.limits_of(project_id).code_mb * _MIB

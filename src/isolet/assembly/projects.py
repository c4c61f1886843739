"""Projects, who may do what in them, and what other servers on the same database change."""

from __future__ import annotations

from functools import partial

from msgspec import Struct

from isolet.access.credentials import Credentials
from isolet.access.lent_keys import LentKeys
from isolet.assembly.host import Host
from isolet.assembly.persistence import Persistence
from isolet.assembly.registry import Registry
from isolet.assembly.runtime import Runtime
from isolet.database import access as stored_access
from isolet.database import functions as stored_functions
from isolet.database import projects as stored_projects
from isolet.identity.identity import Identities
from isolet.projects import Projects
from isolet.projects.key_uses import KeyUses
from isolet.projects.leftovers import Leftovers
from isolet.projects.tokens import Tokens
from isolet.routing.follower import Follower
from isolet.routing.routes import Routes


class ProjectServices(Struct, frozen=True, kw_only=True):
    """`credentials` knows who holds API keys and OAuth tokens, `identities` knows the end users of projects.

    `lent_keys` are those of requests that the dashboard makes.
    """

    service: Projects
    tokens: Tokens
    key_uses: KeyUses
    lent_keys: LentKeys
    credentials: Credentials
    identities: Identities
    follower: Follower
    leftovers: Leftovers


async def open_projects(
    host: Host,
    persistence: Persistence,
    registry: Registry,
    runtime: Runtime,
) -> ProjectServices:
    """Loads the routes."""
    database, routes, cleanup = persistence.database, registry.routes, registry.cleanup
    identities = await _open_identities(host, persistence, registry, runtime)

    leftovers = Leftovers(database, cleanup.run)
    registry.changes.add(leftovers.follow)
    service = Projects(
        database=database,
        events=registry.changes,
        clock=host.clock,
        on_delete=leftovers.drop_project,
        egress_networks=host.settings.egress_networks,
        most_keys=lambda project_id: routes.limits_of(project_id).keys,
    )
    key_uses = _open_key_uses(host, persistence)
    await service.ensure_default()
    tokens = Tokens(database=database, clock=host.clock, owner_of=partial(_owner_of, routes))
    follower = await _open_follower(persistence, registry, runtime, identities, tokens)
    routes.load(
        functions=await database.read(stored_functions.list_for_routes),
        projects=await database.read(stored_projects.list_projects),
        keys=await database.read(stored_access.list_keys),
    )
    await tokens.load()
    lent_keys = LentKeys()
    return ProjectServices(
        service=service,
        tokens=tokens,
        key_uses=key_uses,
        lent_keys=lent_keys,
        credentials=Credentials(routes, tokens, lent=lent_keys, on_use=key_uses.note),
        identities=identities,
        follower=follower,
        leftovers=leftovers,
    )


def _owner_of(routes: Routes, key_digest: bytes) -> str:
    """The project of a key; empty for the root key, and for one that is gone."""
    principal = routes.principal_of(key_digest)
    return "" if principal is None else principal.project_id or ""


async def _open_identities(host: Host, persistence: Persistence, registry: Registry, runtime: Runtime) -> Identities:
    identities = Identities(
        database=persistence.database, vault=persistence.vault, clock=host.clock, egresses=runtime.egresses
    )
    host.stack.callback(identities.close)
    await identities.load()
    registry.cleanup.add(identities.forget)
    return identities


async def _open_follower(
    persistence: Persistence, registry: Registry, runtime: Runtime, identities: Identities, tokens: Tokens
) -> Follower:
    follower = Follower(
        database=persistence.database,
        routes=registry.routes,
        events=registry.changes,
        pool=runtime.pool,
        vault=persistence.vault,
        identities=identities,
        tokens=tokens,
        on_project_gone=registry.cleanup.run,
    )
    await follower.begin()
    return follower


def _open_key_uses(host: Host, persistence: Persistence) -> KeyUses:
    key_uses = KeyUses(database=persistence.database, clock=host.clock)
    host.stack.push_async_callback(key_uses.close)
    host.loops.loop(key_uses.run(), name="key uses")
    return key_uses

"""What a route demands of its caller, as data: the role, and where the project comes from in which it must be held.

Each row of a table of routes has an `Access`; `authorization.py` checks it. Nothing here knows HTTP or a dialect. A
dialect with another place for its projects adds a `ProjectSource` beside its routes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from isolet.access.owners import Owners
from isolet.database.owners import Owned
from isolet.domain.access import Principal, Role
from isolet.domain.functions import Function
from isolet.domain.projects import Project
from isolet.errors import Forbidden, NotFound
from isolet.functions.service import Functions
from isolet.ids import ProjectId
from isolet.routing.routes import Routes

T = TypeVar("T")
# In a scope: what requests that belong together have read for their checks.
READS = "isolet.reads"
Reads = MutableMapping[tuple[object, ...], Any]


class Asked(Struct, frozen=True, kw_only=True):
    """What a source may look at: who asks, the parameters of path and query, and what exists.

    `reads` is what earlier requests of the same page have read: none of them changed anything.
    """

    principal: Principal
    path: Mapping[str, str]
    query: Mapping[str, str]
    routes: Routes
    functions: Functions
    owners: Owners
    reads: Reads | None = None

    async def function(self, function_id: str) -> Function:
        """Raises NotFound, also for one of a project that the principal does not see."""
        project_id = self.principal.project_id
        return await self._once((project_id, function_id), partial(self.functions.get, project_id, function_id))

    async def project_of(self, kind: Owned, identifier: str) -> ProjectId:
        """Raises NotFound."""
        return await self._once((kind, identifier), partial(self.owners.project_of, kind, identifier))

    async def _once(self, key: tuple[object, ...], read: Callable[[], Awaitable[T]]) -> T:
        if self.reads is None:
            return await read()
        if key not in self.reads:
            self.reads[key] = await read()
        found: T = self.reads[key]
        return found


class Found(Struct, frozen=True, kw_only=True):
    """The project that a request is about, and the function where the row names one. No project: every one."""

    project: Project | None
    function: Function | None = None


class ProjectSource(Protocol):
    """`path` and `query` are the names of the parameters that it reads; `missing` is the text of a 404."""

    @property
    def path(self) -> tuple[str, ...]: ...

    @property
    def query(self) -> tuple[str, ...]: ...

    @property
    def missing(self) -> str: ...

    async def find(self, asked: Asked) -> Found:
        """Raises NotFound. Whether the principal sees the project is checked afterwards."""


class _InPath:
    """A project by one parameter of the path."""

    __slots__ = ()
    parameter: str

    @property
    def path(self) -> tuple[str, ...]:
        return (self.parameter,)

    @property
    def query(self) -> tuple[str, ...]:
        return ()


class PathSlug(Struct, _InPath, frozen=True, kw_only=True):
    """A project by its slug in the path."""

    parameter: str = "slug"
    missing: str = "Project not found"

    async def find(self, asked: Asked) -> Found:
        project = asked.routes.project(asked.path[self.parameter])
        if project is None:
            raise NotFound(self.missing)
        return Found(project=project)


class PathFunction(Struct, _InPath, frozen=True, kw_only=True):
    """The project of a function whose id is in the path."""

    parameter: str = "function_id"
    missing: str = "Function not found"

    async def find(self, asked: Asked) -> Found:
        function = await asked.function(asked.path[self.parameter].lower())
        project = asked.routes.project_of(function.project_id)
        if project is None:
            raise NotFound(self.missing)
        return Found(project=project, function=function)


class PathOwned(Struct, _InPath, frozen=True):
    """The project of something else that is named by its id in the path."""

    kind: Owned
    parameter: str
    missing: str

    async def find(self, asked: Asked) -> Found:
        try:
            project_id = await asked.project_of(self.kind, asked.path[self.parameter])
        except NotFound:
            raise NotFound(self.missing) from None
        project = asked.routes.project_of(project_id)
        if project is None:
            raise NotFound(self.missing)
        return Found(project=project)


class OfKey(Struct, frozen=True, kw_only=True):
    """The project of the key; the root key's is the default project, or each one with `every`.

    A parameter `slug` of the query names another one. The root key may also name one by a parameter `function`, if
    that is an id.
    """

    slug: str | None = None
    function: str | None = None
    every: bool = False
    missing: str = "Project not found"

    @property
    def path(self) -> tuple[str, ...]:
        return ()

    @property
    def query(self) -> tuple[str, ...]:
        return tuple(name for name in (self.slug, self.function) if name is not None)

    async def find(self, asked: Asked) -> Found:
        if self.slug is not None and (slug := asked.query.get(self.slug)) is not None:
            return self._existing(asked.routes.project(slug))
        if (project_id := asked.principal.project_id) is not None:
            return self._existing(asked.routes.project_of(project_id))
        if self.function is not None and (route := asked.routes.function(asked.query.get(self.function, "").lower())):
            return self._existing(asked.routes.project_of(route.project_id))
        return Found(project=None if self.every else asked.routes.default_project)

    def _existing(self, project: Project | None) -> Found:
        if project is None:
            raise NotFound(self.missing)
        return Found(project=project)


# May look at what takes `deploy` to change.
READERS = frozenset({Role.READ})


class Access(Struct, frozen=True):
    """The smallest role that a caller has in the route's project; `root`: the root key only.

    `also` are roles that may, though they are smaller. `wider` is the role for a part of what the route shows; those
    in `also` see it, too.
    """

    role: Role
    project: ProjectSource
    root: bool = False
    also: frozenset[Role] = frozenset()
    wider: Role | None = None

    def for_readers(self) -> Access:
        """The same for a route that only shows something: who may look at all may use it."""
        return replace(self, also=self.also | READERS)

    def refusal(self, principal: Principal) -> str | None:
        """Why a principal that sees the project may not; None when it may."""
        if self.root and not principal.is_root:
            return "This needs the root key"
        if principal.role.rank >= self.role.rank or principal.role in self.also:
            return None
        return _too_small(principal, self.role)


class Grant(Struct, frozen=True, kw_only=True):
    """A request whose row has been checked."""

    principal: Principal
    access: Access
    found: Found

    @property
    def project(self) -> Project:
        """Of a row that names one for every caller."""
        if self.found.project is None:
            raise LookupError("the row names no project")
        return self.found.project

    @property
    def project_id(self) -> ProjectId | None:
        """None for the root key where the row takes every project."""
        return None if self.found.project is None else self.found.project.id

    @property
    def function(self) -> Function:
        """Of a row that names one."""
        if self.found.function is None:
            raise LookupError("the row names no function")
        return self.found.function

    @property
    def is_wide(self) -> bool:
        """Whether the caller has the row's wider role."""
        access, role = self.access, self.principal.role
        return access.wider is None or role.rank >= access.wider.rank or role in access.also

    def require_wide(self) -> None:
        """Raises Forbidden without the row's wider role."""
        if self.access.wider is not None and not self.is_wide:
            raise Forbidden(_too_small(self.principal, self.access.wider))


def _too_small(principal: Principal, role: Role) -> str:
    return f"This key has the role {principal.role}; this needs {role}"

"""The route table: what a door must know of functions, projects and keys, in memory, never asked of the database.

A table is an immutable snapshot that is replaced whole; `Routes` holds the current one and applies changes.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import assert_never

from msgspec import Struct, field
from msgspec.structs import replace

from isolet.clock import Clock, SystemClock
from isolet.domain.access import Key, Principal, Role, digest
from isolet.domain.agents import AGENT_DEFAULTS
from isolet.domain.changes import (
    Change,
    FunctionChanged,
    FunctionDeleted,
    KeyCreated,
    KeyDeleted,
    ProjectChanged,
    ProjectDeleted,
)
from isolet.domain.egress_rules import effective
from isolet.domain.functions import Function, FunctionType, ResponseMode, triggers_of
from isolet.domain.limits import Limits
from isolet.domain.project_limits import ProjectLimits
from isolet.domain.projects import DEFAULT_SLUG, Plan, Project
from isolet.domain.public_routes import Access, CorsRules
from isolet.domain.retries import Retry
from isolet.domain.tools import ToolSettings, settings_of
from isolet.domain.triggers import HttpAuth, http_auth, socket_event
from isolet.functions.releases import release_of
from isolet.ids import FunctionId, ProjectId


class Route(Struct, frozen=True, kw_only=True):
    """A function as a door sees it. `version` is None while nothing is live.

    `http_auth` says who may call it by its name; None when nobody may. `impersonation` lets keys act as a user there.
    `access`, `cors` and `hosts` are of its public address. `event` is that of live connections which calls it.
    `tool` is None for a function that is no tool of agents.
    """

    function_id: FunctionId
    project_id: ProjectId
    name: str
    slug: str
    version: int | None
    release: str
    public: bool
    response_mode: ResponseMode
    limits: Limits
    http_auth: HttpAuth | None = None
    impersonation: bool = True
    retry: Retry = field(default_factory=Retry)
    access: Access = Access.KEY
    cors: CorsRules = CorsRules.PLATFORM
    hosts: tuple[str, ...] = ()
    event: str | None = None
    tool: ToolSettings | None = None


def route_of(function: Function) -> Route:
    return Route(
        function_id=function.id,
        project_id=function.project_id,
        name=function.name,
        slug=function.slug,
        version=function.version,
        release=release_of(function),
        public=function.public_endpoint and function.function_type is FunctionType.CLOUDFLARE_WORKER,
        response_mode=function.response_mode,
        limits=function.limits,
        http_auth=http_auth(triggers_of(function)),
        impersonation=(function.agent or AGENT_DEFAULTS)["allow_service_key_impersonation"],
        retry=function.retry,
        access=function.access,
        cors=function.cors,
        hosts=tuple(function.hosts or ()),
        event=socket_event(triggers_of(function)),
        tool=settings_of(function.agent, function.description),
    )


class _OfProject(Struct, frozen=True):
    """The functions of one project, by id, by name and by event."""

    functions: Mapping[str, Route]
    named: Mapping[str, Route]
    events: Mapping[str, Route]


_NONE: Mapping[str, Route] = MappingProxyType({})
_NO_FUNCTIONS = _OfProject(_NONE, _NONE, _NONE)


class _Snapshot(Struct, frozen=True, kw_only=True):
    # Proxies, whose copies are made without looking at what they hold.
    functions: MappingProxyType[str, Route] = field(default_factory=lambda: MappingProxyType({}))
    of_projects: MappingProxyType[ProjectId, _OfProject] = field(default_factory=lambda: MappingProxyType({}))
    hosts: MappingProxyType[str, Route] = field(default_factory=lambda: MappingProxyType({}))
    projects: Mapping[str, Project] = field(default_factory=dict)
    projects_by_id: Mapping[str, Project] = field(default_factory=dict)
    keys: MappingProxyType[bytes, Key] = field(default_factory=lambda: MappingProxyType({}))
    plans: Mapping[ProjectId, Plan] = field(default_factory=dict)
    limits: Mapping[ProjectId, ProjectLimits] = field(default_factory=dict)


class Routes:
    """Lookups take the current snapshot; changes replace it. `on_drop` hears of functions that are gone.

    `limits` are those of a project without its own, `egress_networks` those that the operator opened to functions.
    """

    def __init__(
        self,
        root_key: str,
        limits: ProjectLimits | None = None,
        *,
        clock: Clock | None = None,
        egress_networks: Sequence[str] = (),
        on_drop: Callable[[FunctionId], None] = lambda _: None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._egress_networks = tuple(egress_networks)
        self._limits = limits or ProjectLimits()
        self._root_digest = digest(root_key)
        self._root = Principal(role=Role.ADMIN)
        self._now = _Snapshot()
        self._on_drop = on_drop

    def load(self, *, functions: Iterable[Function], projects: Iterable[Project], keys: Iterable[Key]) -> None:
        routes: dict[str, Route] = {function.id: route_of(function) for function in functions}
        self._now = _Snapshot(
            functions=MappingProxyType(routes),
            of_projects=_by_project(routes.values()),
            hosts=MappingProxyType({host: route for route in routes.values() for host in route.hosts}),
            keys=MappingProxyType({key.digest: key for key in keys}),
        )
        self._replace_projects({project.slug: project for project in projects})

    # Lookups.

    @property
    def plans(self) -> Mapping[ProjectId, Plan]:
        """The plans of those projects that have another one than `unlimited`."""
        return self._now.plans

    def limits_of(self, project_id: ProjectId) -> ProjectLimits:
        """What a project may take of the server."""
        return self._now.limits.get(project_id, self._limits)

    def egress_of(self, project_id: ProjectId) -> tuple[str, ...]:
        """The networks that a project's functions may reach besides public addresses."""
        project = self._now.projects_by_id.get(project_id)
        return () if project is None else effective(project.egress_allow, self._egress_networks)

    @property
    def functions(self) -> Mapping[str, Route]:
        """By id: a snapshot."""
        return self._now.functions

    def of_project(self, project_id: ProjectId) -> Mapping[str, Route]:
        """The functions of a project by id: a snapshot."""
        return self._of(project_id).functions

    @property
    def projects_by_slug(self) -> Mapping[str, Project]:
        return self._now.projects

    @property
    def keys(self) -> Mapping[bytes, Key]:
        """By digest: a snapshot."""
        return self._now.keys

    def function(self, function_id: str) -> Route | None:
        return self._now.functions.get(function_id)

    def has_function(self, function_id: str) -> bool:
        return function_id in self._now.functions

    def named(self, project_id: ProjectId, name: str) -> Route | None:
        """A function of a project by its slug, else by its name; of several the oldest."""
        return self._of(project_id).named.get(name)

    def at_host(self, host: str) -> Route | None:
        """The function that claimed a host; `host` is in lower case, without a port."""
        return self._now.hosts.get(host)

    def for_event(self, project_id: ProjectId, event: str) -> Route | None:
        """The function of a project that an event of a live connection calls; of several the oldest."""
        return self._of(project_id).events.get(event)

    def project(self, slug: str) -> Project | None:
        return self._now.projects.get(slug)

    def projects(self) -> Iterable[Project]:
        return self._now.projects.values()

    def project_of(self, project_id: str) -> Project | None:
        """A project by its id."""
        return self._now.projects_by_id.get(project_id)

    def slug_of(self, project_id: ProjectId) -> str:
        """The slug of a project that exists."""
        return self._now.projects_by_id[project_id].slug

    @property
    def default_project(self) -> Project:
        return self._now.projects[DEFAULT_SLUG]

    def principal(self, key: str | None) -> Principal | None:
        """Who a key stands for; None for no key and for one that nobody issued."""
        return self.principal_of(digest(key)) if key else None

    def principal_of(self, given: bytes) -> Principal | None:
        """Who the key with this digest stands for."""
        if hmac.compare_digest(given, self._root_digest):
            return self._root
        known = self._now.keys.get(given)
        if known is None or not hmac.compare_digest(known.digest, given) or not known.is_good(self._clock.now_ms()):
            return None
        return Principal(role=known.role, key_id=known.id, project_id=known.project_id)

    # Changes.

    def follow(self, change: Change) -> None:
        """A listener of all that changes."""
        match change:
            case FunctionChanged():
                self.put_function(change.function)
            case FunctionDeleted():
                self.drop_function(change.function_id)
            case ProjectChanged():
                self.put_project(change.project)
            case ProjectDeleted():
                self.drop_project(change.project)
            case KeyCreated():
                self.put_key(change.key)
            case KeyDeleted():
                self.drop_key(change.key_id)
            case _:
                assert_never(change)

    def put_function(self, function: Function) -> None:
        self._change(self._now.functions.get(function.id), route_of(function))

    def drop_function(self, function_id: FunctionId) -> None:
        self._change(self._now.functions.get(function_id), None)
        self._on_drop(function_id)

    def put_project(self, project: Project) -> None:
        self._replace_projects({**self._now.projects, project.slug: project})

    def drop_project(self, project: Project) -> None:
        now = self._now
        functions, hosts, of_projects = now.functions.copy(), now.hosts.copy(), now.of_projects.copy()
        dropped = of_projects.pop(project.id, _NO_FUNCTIONS).functions.values()
        for route in dropped:
            del functions[route.function_id]
            _release_hosts(hosts, route)
        self._now = replace(
            now,
            functions=MappingProxyType(functions),
            hosts=MappingProxyType(hosts),
            of_projects=MappingProxyType(of_projects),
            keys=MappingProxyType({given: key for given, key in now.keys.items() if key.project_id != project.id}),
        )
        self._replace_projects({slug: other for slug, other in now.projects.items() if slug != project.slug})
        for route in dropped:
            self._on_drop(route.function_id)

    def put_key(self, key: Key) -> None:
        self._now = replace(self._now, keys=MappingProxyType(self._now.keys.copy() | {key.digest: key}))

    def drop_key(self, key_id: str) -> None:
        keys = {given: key for given, key in self._now.keys.items() if key.id != key_id}
        self._now = replace(self._now, keys=MappingProxyType(keys))

    def _of(self, project_id: ProjectId) -> _OfProject:
        return self._now.of_projects.get(project_id, _NO_FUNCTIONS)

    def _change(self, before: Route | None, after: Route | None) -> None:
        """Put `after` in the place of `before`. Of other projects nothing is looked at: there may be many."""
        now = self._now
        functions, hosts, of_projects = now.functions.copy(), now.hosts.copy(), now.of_projects.copy()
        if before is not None:
            del functions[before.function_id]
            _release_hosts(hosts, before)
        if after is not None:
            functions[after.function_id] = after
            hosts.update(dict.fromkeys(after.hosts, after))
        for changed in filter(None, (before, after)):
            own = dict(self._of(changed.project_id).functions)
            own.pop(changed.function_id, None)
            if changed is after:
                own[after.function_id] = after
            of_projects[changed.project_id] = _of_project(own)
        self._now = replace(
            now,
            functions=MappingProxyType(functions),
            hosts=MappingProxyType(hosts),
            of_projects=MappingProxyType(of_projects),
        )

    def _replace_projects(self, projects: Mapping[str, Project]) -> None:
        self._now = replace(
            self._now,
            projects=MappingProxyType(projects),
            projects_by_id=MappingProxyType({project.id: project for project in projects.values()}),
            plans=_limited(projects),
            limits=self._own_limits(projects),
        )

    def _own_limits(self, projects: Mapping[str, Project]) -> Mapping[ProjectId, ProjectLimits]:
        own = {project.id: self._limits.changed(project.limits) for project in projects.values() if project.limits}
        return MappingProxyType(own)


def _limited(projects: Mapping[str, Project]) -> Mapping[ProjectId, Plan]:
    limited = {project.id: project.plan for project in projects.values() if project.plan is not Plan.UNLIMITED}
    return MappingProxyType(limited)


def _release_hosts(hosts: dict[str, Route], route: Route) -> None:
    """Without the hosts of a function, unless another has claimed them meanwhile."""
    for host in route.hosts:
        if host in hosts and hosts[host].function_id == route.function_id:
            del hosts[host]


def _by_project(routes: Iterable[Route]) -> MappingProxyType[ProjectId, _OfProject]:
    found: dict[ProjectId, dict[str, Route]] = {}
    for route in routes:
        found.setdefault(route.project_id, {})[route.function_id] = route
    return MappingProxyType({project_id: _of_project(own) for project_id, own in found.items()})


def _of_project(functions: Mapping[str, Route]) -> _OfProject:
    """Slugs before names, older functions before younger ones: ids are in the order of their making."""
    oldest_first = sorted(functions.values(), key=lambda route: route.function_id)
    named: dict[str, Route] = {}
    events: dict[str, Route] = {}
    for route in oldest_first:
        named.setdefault(route.name, route)
        if route.event is not None:
            events.setdefault(route.event, route)
    for route in oldest_first:
        named[route.slug] = route
    return _OfProject(MappingProxyType(functions), MappingProxyType(named), MappingProxyType(events))

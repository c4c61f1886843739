"""`isolet.toml`: the project's own configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isolet.domain.limits import BOUNDS
from isolet.domain.schedules import POLICIES
from isolet.workspace.json_values import as_json
from isolet.workspace.model import Build, FunctionConfig, Migrations, Schedule, Workspace
from isolet.workspace.paths import inside
from isolet.workspace.rules import endings_of
from isolet.workspace.tables import Table

NAME = "isolet.toml"
_SHARED = ("access", "compatibility_date", "compatibility_flags", "limits", "variables")
_FUNCTION = (*_SHARED, "entry", "name", "description", "cors", "hosts", "bindings", "schedules", "build")
_TOP = (*_SHARED, "project", "functions", "databases", "build", "env")
_ENVIRONMENT = ("project", "functions", *_SHARED)
_BUILD = ("alias", "define", "rules", "jsx_factory", "jsx_fragment", "minify", "tsconfig", "bundle")
_SCHEDULE = ("name", "cron", "timezone", "dialect", "payload", "enabled", *POLICIES)


def read_isolet_toml(root: Path, values: Mapping[str, Any], environment: str | None) -> Workspace:
    """Raises WorkspaceError naming the key that is wrong."""
    top = Table(dict(values), NAME)
    top.check_known(_TOP)
    layers = [top]
    if environment is not None:
        layers.append(_environment(top, environment))
    functions = top.table("functions")
    if functions is None or not functions.values:
        raise top.error("functions", 'has no function: add [functions.hello] with entry = "hello.js"')
    read = tuple(_function(root, name, layers, environment) for name in functions.values)
    for layer in layers[1:]:
        for name in ((chosen := layer.table("functions")) and chosen.values) or ():
            if name not in functions.values:
                raise layer.error("functions", f"has {name!r}, which is none of the project's functions")
    project = next((found for layer in reversed(layers) if (found := layer.text("project")) is not None), None)
    return Workspace(
        root=root,
        file=NAME,
        functions=read,
        migrations=_migrations(root, top),
        project=project,
        environment=environment,
    )


def _environment(top: Table, environment: str) -> Table:
    environments = top.table("env")
    found = environments and environments.table(environment)
    if not found:
        known = ", ".join(sorted(environments.values)) if environments else "none"
        raise top.error("env", f"has no {environment!r}; there is {known}")
    found.check_known(_ENVIRONMENT)
    return found


def _function(root: Path, name: str, layers: list[Table], environment: str | None) -> FunctionConfig:
    """Of several layers the last that says something counts; tables of variables and limits are merged."""
    own = []
    for layer in layers:
        functions = layer.table("functions")
        if functions is not None and (table := functions.table(name)) is not None:
            table.check_known(_FUNCTION)
            own.append(table)
    base = own[0]
    # The project's, the environment's, and then the function's of each.
    stack = [*layers, *own]
    flags = _last(stack, lambda table: table.texts("compatibility_flags"))
    return FunctionConfig(
        name=_last(own, lambda table: table.text("name")) or (f"{name}-{environment}" if environment else name),
        entry=inside(root, base.required("entry"), base, "entry"),
        description=_last(own, lambda table: table.text("description")),
        access=_last(stack, lambda table: table.text("access")),
        cors=_last(own, lambda table: table.text("cors")),
        hosts=_last(own, lambda table: table.texts("hosts")),
        compatibility_date=_last(stack, lambda table: table.day("compatibility_date")),
        compatibility_flags=flags,
        limits=_limits(stack),
        variables=_variables(stack),
        bindings=_last(own, _bindings),
        schedules=_last(own, _schedules),
        build=_build(_last([layers[0], *own], lambda table: table.table("build"))),
    )


def _last(tables: list[Table], read: Any) -> Any:
    found = None
    for table in tables:
        if (value := read(table)) is not None:
            found = value
    return found


def _limits(stack: list[Table]) -> dict[str, int] | None:
    found: dict[str, int] = {}
    for table in stack:
        if (limits := table.table("limits")) is not None:
            limits.check_known(BOUNDS)
            found |= {name: number for name in limits.values if (number := limits.number(name)) is not None}
    return found or None


def _variables(stack: list[Table]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for table in stack:
        if (variables := table.table("variables")) is not None:
            found |= {name: as_json(variables, name) for name in variables.values}
    return found


def _bindings(table: Table) -> dict[str, dict[str, str]] | None:
    bindings = table.table("bindings")
    if bindings is None:
        return None
    found = {}
    for name, binding in bindings.subtables().items():
        binding.check_known(("type", "namespace", "database"))
        found[name] = {key: binding.required(key) for key in binding.values}
    return found


def _schedules(table: Table) -> tuple[Schedule, ...] | None:
    schedules = table.tables("schedules")
    if schedules is None:
        return None
    found = []
    for schedule in schedules:
        schedule.check_known(_SCHEDULE)
        cron = schedule.required("cron")
        options = {name: as_json(schedule, name) for name in schedule.values if name not in ("name", "cron")}
        found.append(Schedule(name=schedule.text("name") or cron, cron=cron, options=options))
    names = [schedule.name for schedule in found]
    for name in names:
        if names.count(name) > 1:
            raise table.error("schedules", f"has two of the name {name!r}; give each a name")
    return tuple(found)


def _build(table: Table | None) -> Build:
    if table is None:
        return Build()
    table.check_known(_BUILD)
    return Build(
        alias=table.text_by_name("alias"),
        define=table.text_by_name("define"),
        rules=endings_of(table, table.tables("rules") or []),
        jsx_factory=table.text("jsx_factory"),
        jsx_fragment=table.text("jsx_fragment"),
        minify=bool(table.flag("minify")),
        tsconfig=table.text("tsconfig"),
        bundle=bool(table.flag("bundle")),
    )


def _migrations(root: Path, top: Table) -> tuple[Migrations, ...]:
    databases = top.table("databases")
    found = []
    for name, database in databases.subtables().items() if databases is not None else ():
        database.check_known(("migrations", "migrations_table"))
        folder = inside(root, database.required("migrations"), database, "migrations")
        table = database.text("migrations_table")
        found.append(Migrations(database=name, folder=folder, **({"table": table} if table else {})))
    return tuple(found)

"""`wrangler.toml`, `wrangler.json` and `wrangler.jsonc`: Workers' configuration, with one of its environments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from isolet.domain.compatibility import FLAGS
from isolet.workspace.errors import WorkspaceError
from isolet.workspace.json_values import as_json
from isolet.workspace.model import Build, FunctionConfig, Migrations, RuleType, Schedule, Workspace
from isolet.workspace.paths import inside
from isolet.workspace.rules import endings_of
from isolet.workspace.tables import Table
from isolet.workspace.wrangler_stores import Stores, read_stores

NAMES = ("wrangler.toml", "wrangler.jsonc", "wrangler.json")
# An environment has its own of these, or none; everything else it takes from the top.
_NOT_INHERITED = frozenset(
    {
        *("vars", "define", "kv_namespaces", "d1_databases", "durable_objects", "queues", "r2_buckets", "services"),
        *("workflows", "vectorize", "hyperdrive", "analytics_engine_datasets", "mtls_certificates", "ai", "browser"),
        *("dispatch_namespaces", "send_email", "unsafe", "tail_consumers", "pipelines", "images", "version_metadata"),
        *(
            "secrets_store_secrets",
            "containers",
            "vpc_services",
            "ratelimits",
            "worker_loaders",
            "media",
            "cloudchamber",
        ),
    }
)
# What the platform does in its own way, or what is about an account, a terminal or an upload.
_WITHOUT_EFFECT = frozenset(
    {
        *("$schema", "account_id", "workers_dev", "preview_urls", "send_metrics", "observability", "logpush", "dev"),
        *("upload_source_maps", "keep_vars", "placement", "no_bundle", "find_additional_modules", "base_dir", "env"),
        *(
            "preserve_file_names",
            "keep_names",
            "legacy_env",
            "first_party_worker",
            "usage_model",
            "secrets",
            "pages_build_output_dir",
        ),
        *("compliance_region", "python_modules", "previews"),
    }
)
_MAPPED = frozenset(
    {
        *("name", "main", "compatibility_date", "compatibility_flags", "vars", "kv_namespaces", "d1_databases"),
        *("triggers", "rules", "alias", "define", "limits", "minify", "tsconfig", "jsx_factory", "jsx_fragment"),
        "node_compat",
    }
)
_NAME = re.compile(r"[A-Z0-9_]+")
_SHOWN_MAX = 5


def read_wrangler(root: Path, file: str, values: Mapping[str, Any], environment: str | None) -> Workspace:
    """Raises WorkspaceError naming the key that is wrong."""
    table = _merged(Table(dict(values), file), environment)
    unmapped = [line for name in table.values for line in _not_mapped(table, name)]
    name = _name(table, values, environment)
    stores = read_stores(name, table)
    rules = _rules(table, unmapped)
    function = FunctionConfig(
        name=name,
        entry=_main(root, table),
        compatibility_date=table.day("compatibility_date"),
        compatibility_flags=_flags(table, unmapped),
        limits=_limits(table, unmapped),
        variables=_variables(table, unmapped),
        bindings=stores.bindings,
        schedules=_crons(table),
        build=Build(
            alias=table.text_by_name("alias"),
            define=table.text_by_name("define"),
            rules=rules,
            jsx_factory=table.text("jsx_factory"),
            jsx_fragment=table.text("jsx_fragment"),
            minify=bool(table.flag("minify")),
            tsconfig=table.text("tsconfig"),
        ),
    )
    return Workspace(
        root=root,
        file=file,
        functions=(function,),
        migrations=_checked(root, table, stores),
        environment=environment,
        unmapped=(*unmapped, *stores.unmapped),
        notes=tuple(stores.notes),
    )


def _merged(top: Table, environment: str | None) -> Table:
    if environment is None:
        return top
    environments = top.table("env")
    found = environments and environments.table(environment)
    if not found:
        known = ", ".join(sorted(environments.values)) if environments else "none"
        raise top.error("env", f"has no {environment!r}; there is {known}")
    inherited = {name: value for name, value in top.values.items() if name not in _NOT_INHERITED and name != "env"}
    return Table({**inherited, **found.values}, top.file)


def _name(table: Table, top: Mapping[str, Any], environment: str | None) -> str:
    name = table.required("name")
    own = top.get("env", {}).get(environment, {}).get("name") if environment else None
    return name if own or not environment else f"{name}-{environment}"


def _main(root: Path, table: Table) -> str:
    if table.values.get("main") is None:
        raise table.error("main", "is required: a Worker of assets alone has no code to run")
    return inside(root, table.required("main"), table, "main")


def _flags(table: Table, unmapped: list[str]) -> tuple[str, ...]:
    flags = table.texts("compatibility_flags") or ()
    if table.flag("node_compat") and not any(flag.startswith("nodejs_compat") for flag in flags):
        # What it was called before.
        flags = (*flags, "nodejs_compat")
    unmapped += [f"compatibility_flags: {flag}" for flag in flags if flag not in FLAGS]
    return tuple(flag for flag in flags if flag in FLAGS)


def _limits(table: Table, unmapped: list[str]) -> dict[str, int] | None:
    limits = table.table("limits")
    if limits is None:
        return None
    unmapped += [f"limits.{name}" for name in limits.values if name != "cpu_ms"]
    cpu_ms = limits.number("cpu_ms")
    return None if cpu_ms is None else {"cpu_ms": cpu_ms}


def _variables(table: Table, unmapped: list[str]) -> dict[str, Any]:
    variables = table.table("vars")
    if variables is None:
        return {}
    unmapped += [
        f"vars.{name}: names in env are upper case letters, digits and _"
        for name in variables.values
        if not _NAME.fullmatch(name)
    ]
    return {name: as_json(variables, name) for name in variables.values if _NAME.fullmatch(name)}


def _rules(table: Table, unmapped: list[str]) -> dict[str, RuleType]:
    found: dict[str, RuleType] = {}
    for rule in table.tables("rules") or []:
        try:
            found |= endings_of(table, [rule])
        except WorkspaceError as exc:
            unmapped.append(f"rules: {exc.message.partition(': ')[2]}")
    return found


def _crons(table: Table) -> tuple[Schedule, ...] | None:
    """None where the file says nothing: then those of before stay, as with wrangler."""
    triggers = table.table("triggers")
    crons = triggers.texts("crons") if triggers is not None else None
    if crons is None:
        return None
    return tuple(Schedule(name=cron, cron=cron, options={"dialect": "cloudflare"}) for cron in dict.fromkeys(crons))


def _checked(root: Path, table: Table, stores: Stores) -> tuple[Migrations, ...]:
    """Those whose folder is there: without one a database has no migrations."""
    found = []
    for one in stores.migrations:
        folder = inside(root, one.folder, table, "d1_databases")
        if (root / folder).is_dir():
            found.append(replace(one, folder=folder))
    return tuple(found)


def _not_mapped(table: Table, name: str) -> list[str]:
    """Lines about a key, none for what is understood."""
    value = table.values[name]
    if name in _MAPPED or name in _WITHOUT_EFFECT or value in (None, False, [], {}):
        return []
    if name == "migrations":
        # They come with Durable Objects, which are named themselves.
        return [] if "durable_objects" in table.values else ["migrations: of Durable Objects"]
    return [f"{name}: {what}" if what else name for what in _named(name, value)]


def _named(name: str, value: Any) -> list[str]:
    """What a key names, one for each binding."""
    if name == "durable_objects" and isinstance(value, dict):
        return [_described(item, "class_name", "class") for item in _items(value.get("bindings"))] or [""]
    if name == "queues" and isinstance(value, dict):
        ends = [*_items(value.get("producers")), *_items(value.get("consumers"))]
        return [_described(item, "queue", "queue") for item in ends] or [""]
    items = value if isinstance(value, list) else [value]
    return [_described(item, _OF.get(name, ""), "") for item in items]


_OF = {"r2_buckets": "bucket_name", "services": "service", "workflows": "class_name", "routes": "pattern"}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _described(item: Any, member: str, word: str) -> str:
    if not isinstance(item, dict):
        return item[:100] if isinstance(item, str) else ""
    names = [item[key] for key in ("binding", "name") if isinstance(item.get(key), str)]
    other = item.get(member)
    if isinstance(other, str):
        names.append(f"({word} {other})" if word and names else f"({other})" if names else other)
    return " ".join(dict.fromkeys(names))[:200]

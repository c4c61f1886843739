"""The KV namespaces and D1 databases of a wrangler file, as stores of the project."""

from __future__ import annotations

import re

from msgspec import Struct, field

from isolet.domain.stores import DEFAULT, StoreKind
from isolet.workspace.model import Migrations
from isolet.workspace.tables import Table

_BINDING = re.compile(r"[A-Z][A-Z0-9_]{0,127}")
_STORE = re.compile(r"[a-z0-9-]{1,63}")
_NOT_STORE = re.compile(r"[^a-z0-9]+")
# The names under which a function always has the project's first store of a kind.
_ALWAYS = {StoreKind.KV: "KV", StoreKind.DATABASE: "DB"}


class Stores(Struct, kw_only=True):
    bindings: dict[str, dict[str, str]] = field(default_factory=dict)
    migrations: list[Migrations] = field(default_factory=list)
    unmapped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_stores(worker: str, table: Table) -> Stores:
    """A store is named by its id or name in the file, so that Workers of one project share it as they do there."""
    stores = Stores()
    for key, kind, names in (
        ("kv_namespaces", StoreKind.KV, ("id",)),
        ("d1_databases", StoreKind.DATABASE, ("database_name", "database_id")),
    ):
        for entry in table.tables(key) or []:
            _read(stores, worker, entry, key, kind, names)
    return stores


def _read(stores: Stores, worker: str, entry: Table, key: str, kind: StoreKind, names: tuple[str, ...]) -> None:
    binding = entry.required("binding")
    given = next((text for name in names if (text := entry.text(name))), f"{worker}-{binding}")
    store = store_name(given)
    always = _ALWAYS[kind]
    if binding in _ALWAYS.values() and binding != always:
        stores.unmapped.append(f"{key}: {binding} is always a {_other(kind).noun} of the project")
        return
    if not _BINDING.fullmatch(binding):
        stores.unmapped.append(f"{key}: {binding}; a binding's name is upper case letters, digits and _")
        return
    if entry.values.get("remote"):
        stores.notes.append(f"{key}: {binding} is a store of this server, not the remote one")
    if binding == always:
        store = DEFAULT
        stores.notes.append(f"{key}: {binding} is the project's {DEFAULT!r} {kind.noun}")
    else:
        stores.bindings[binding] = {"type": kind.value, kind.noun: store}
    if kind is StoreKind.DATABASE:
        folder = entry.text("migrations_dir") or "migrations"
        # Several databases without a folder of their own would all get the one default.
        if entry.text("migrations_dir") or not any(one.folder == folder for one in stores.migrations):
            table = entry.text("migrations_table") or "d1_migrations"
            stores.migrations.append(Migrations(database=store, folder=folder, table=table))


def _other(kind: StoreKind) -> StoreKind:
    return StoreKind.DATABASE if kind is StoreKind.KV else StoreKind.KV


def store_name(text: str) -> str:
    """A name that a store may have: the text itself where it can be."""
    if _STORE.fullmatch(text):
        return text
    return _NOT_STORE.sub("-", text.lower()).strip("-")[:63].strip("-") or "store"

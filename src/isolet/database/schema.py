"""The whole schema: every table of `isolet.database.tables`, with its partial indexes. New databases get it.

A module of that package is part of it by being there.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from sqlalchemy import Index

from isolet.database import tables
from isolet.database.tables.columns import PARTIAL_INDEXES, metadata

__all__ = ["metadata"]

for _module in iter_modules(tables.__path__):
    import_module(f"{tables.__name__}.{_module.name}")
for _name, _where, _columns in PARTIAL_INDEXES:
    Index(_name, *_columns, sqlite_where=_where, postgresql_where=_where)

"""Values of a configuration file that are sent as JSON."""

from __future__ import annotations

import math
from datetime import date, datetime, time
from typing import Any

from isolet.workspace.tables import Table

_DEPTH_MAX = 32


def as_json(table: Table, name: str) -> Any:
    """Dates of TOML become text. Raises WorkspaceError for what JSON does not have."""
    return _converted(table, name, table.values[name], 0)


def _converted(table: Table, name: str, value: Any, depth: int) -> Any:
    if depth > _DEPTH_MAX:
        raise table.error(name, f"is nested deeper than {_DEPTH_MAX}")
    if isinstance(value, dict):
        return {key: _converted(table, name, item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_converted(table, name, item, depth + 1) for item in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        raise table.error(name, f"is {value}, which JSON does not have")
    return value

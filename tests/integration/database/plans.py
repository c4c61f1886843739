"""How SQLite would answer what a function of the store asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event

from isolet.database.connection import Connection, Database


async def plan_of(database: Database, function: Callable[..., object], *arguments: object, **named: object) -> str:
    """The steps of all of its queries."""

    def explain(connection: Connection) -> str:
        asked: list[tuple[str, Any]] = []

        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            asked.append((statement, parameters))

        event.listen(Engine, "before_cursor_execute", note)
        try:
            function(connection, *arguments, **named)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values) for statement, values in asked]
        return "; ".join(row.detail for plan in plans for row in plan)

    return await database.read(explain)

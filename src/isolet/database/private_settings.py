"""Functions whose settings an earlier release stored in clear, and the sealing of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, Text, cast, func, select

from isolet.database.functions import get_function, replace_function
from isolet.database.tables.functions import functions
from isolet.domain.functions import Function
from isolet.domain.triggers import SECRET_SHOWN
from isolet.errors import NotFound
from isolet.ids import FunctionId


def list_in_clear(connection: Connection, after: FunctionId, limit: int) -> list[FunctionId]:
    """Functions behind `after` that may have something private in clear, by id. Few others are among them."""
    # JSON as it is written: what is in a text has its quotation marks escaped.
    without_sealed = func.replace(cast(functions.c.triggers, Text), f'"secret": "{SECRET_SHOWN}"', "")
    in_clear = without_sealed.like('%"secret": %') | cast(functions.c.altair, Text).like('%"env": %')
    query = select(functions.c.id).where(functions.c.id > after, in_clear).order_by(functions.c.id).limit(limit)
    return [FunctionId(id_) for id_ in connection.execute(query).scalars()]


def seal_function(connection: Connection, read: Function, values: Mapping[str, Any]) -> bool:
    """Write `values` of a function if its settings are still as it was read; whether they were."""
    try:
        now = get_function(connection, read.id, for_update=True)
    except NotFound:
        return False
    if (now.triggers, now.door_settings) != (read.triggers, read.door_settings):
        return False
    replace_function(connection, replace(now, **values))
    return True

"""The projects of things that are named by their ids alone."""

from __future__ import annotations

from enum import Enum

from sqlalchemy import Connection, select

from isolet.database.tables.executions import executions
from isolet.database.tables.schedules import schedules
from isolet.database.tables.workflows import workflows
from isolet.ids import ProjectId


class Owned(Enum):
    """Tables with a column `project_id`."""

    SCHEDULE = schedules
    WORKFLOW = workflows
    EXECUTION = executions


def project_of(connection: Connection, kind: Owned, identifier: str) -> ProjectId | None:
    columns = kind.value.c
    found = connection.execute(select(columns.project_id).where(columns.id == identifier)).scalar()
    return None if found is None else ProjectId(found)

"""A function is shown as deployed only when it can be called."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from isolet.clock import SystemClock
from isolet.database import projects as stored_projects
from isolet.database.connection import Database
from isolet.domain.projects import Project
from isolet.functions.pending_changes import PendingChanges
from isolet.functions.service import Functions
from isolet.ids import ProjectId, new_id
from isolet.listeners import Listeners


@pytest.mark.parametrize("read", ["get", "list"])
async def test_who_reads_a_function_waits_for_the_change_that_is_under_way(database: Database, read: str) -> None:
    settling = PendingChanges()
    nothing: Any = None
    functions = Functions(
        database=database, pool=nothing, events=Listeners(), clock=SystemClock(), settling=settling, vault=nothing
    )
    project = Project(id=ProjectId(new_id()), slug="one", name="One", created_at_ms=0)
    await database.write(stored_projects.insert_project, project)
    changing, other = [
        await functions.create(project.id, {"name": name, "code": "export default () => new Response()"})
        for name in ("changing", "other")
    ]
    order = []

    async def look() -> None:
        await (functions.get(project.id, changing.id) if read == "get" else functions.list(project.id, limit=5))
        order.append("read")

    with settling.change(changing.id):
        reading = asyncio.create_task(look())
        for _ in range(5):
            await functions.get(project.id, other.id)
        order.append("changed")
    await reading

    assert order == ["changed", "read"]
    await functions.get(project.id, changing.id)

"""Lists of runs are read from an index, in its order, whatever is asked for."""

from __future__ import annotations

import pytest

from isolet.database import executions
from isolet.database.connection import Database
from isolet.database.executions import Filter
from isolet.domain.flows.runs import RunStatus
from isolet.ids import ProjectId
from tests.integration.database.plans import plan_of


@pytest.mark.parametrize(
    ("wanted", "searched"),
    [
        ({}, "executions_project (project_id=? AND id<?)"),
        ({"status": RunStatus.WAITING}, "executions_status (project_id=? AND status=? AND id<?)"),
        ({"workflow_id": "w"}, "executions_workflow (workflow_id=? AND id<?)"),
        ({"workflow_id": "w", "status": RunStatus.ENDED}, "executions_workflow (workflow_id=? AND id<?)"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_no_list_reads_every_run(database: Database, wanted: dict[str, object], searched: str) -> None:
    filter_ = Filter(project_id=ProjectId("p"), **wanted)  # type: ignore[arg-type]
    plan = await plan_of(database, executions.list_executions, filter_, before="x", limit=10)
    assert plan == f"SEARCH executions USING INDEX {searched}"

"""What a deploy promises."""

from __future__ import annotations

from typing import Any

import pytest

from isolet.clock import SystemClock
from isolet.database import versions as stored
from isolet.database.connection import Database
from isolet.errors import NotFound
from isolet.functions.deploy import Deployer
from isolet.functions.pending_changes import PendingChanges
from tests.integration.database.rows import a_function, a_project


async def test_a_function_that_was_deleted_meanwhile_is_not_found(database: Database) -> None:
    nothing: Any = None
    deployer = Deployer(
        database=database,
        compiler=nothing,
        pool=nothing,
        releases=nothing,
        events=nothing,
        clock=SystemClock(),
        settling=PendingChanges(),
    )

    with pytest.raises(NotFound, match=r"^Function not found$"):
        await deployer.accept(a_function(a_project()))

    assert await database.read(stored.list_deployments) == []

from collections.abc import AsyncIterator

import pytest

from isolet.database.connection import Database
from isolet.observe.recorder import Recorder
from tests.support.calling import Harness, a_harness
from tests.support.runtime import Runtime


@pytest.fixture
async def harness(runtime: Runtime, database: Database) -> AsyncIterator[Harness]:
    recorder = Recorder(database)
    async with runtime.pool(recorder.print) as pool, a_harness(pool, database, recorder) as made:
        yield made

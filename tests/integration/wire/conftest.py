"""A channel to an instance whose part the test plays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from isolet.wire.channel import Channel
from tests.support.peer import Listener, listening


@pytest.fixture
async def listener(tmp_path: Path) -> AsyncIterator[Listener]:
    async with listening(tmp_path / "socket") as accepting:
        yield accepting


@pytest.fixture
async def channel(tmp_path: Path, listener: Listener) -> AsyncIterator[Channel]:
    opened = Channel(str(tmp_path / "socket"))
    yield opened
    opened.close()

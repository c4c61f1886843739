"""What is dropped of a project that was deleted, in which order, and what a failure changes."""

import pytest

from isolet.ids import ProjectId
from isolet.projects.cleanup import Cleanup

pytestmark = pytest.mark.anyio
PROJECT = ProjectId("p1")


async def test_what_was_opened_last_is_dropped_first() -> None:
    dropped: list[tuple[str, ProjectId]] = []
    cleanup = Cleanup()

    async def storage(project_id: ProjectId) -> None:
        dropped.append(("storage", project_id))

    cleanup.add(storage)
    cleanup.add(lambda project_id: dropped.append(("instances", project_id)))

    await cleanup.run(PROJECT)

    assert dropped == [("instances", PROJECT), ("storage", PROJECT)]


async def test_a_step_that_fails_keeps_no_other_from_being_taken() -> None:
    dropped: list[str] = []
    cleanup = Cleanup()

    async def fail(_: ProjectId) -> None:
        raise OSError("the disk is full")

    cleanup.add(lambda _: dropped.append("storage"))
    cleanup.add(fail)

    with pytest.raises(OSError, match="the disk is full"):
        await cleanup.run(PROJECT)

    assert dropped == ["storage"]

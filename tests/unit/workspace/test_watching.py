"""Changes of watched folders are told, none is lost while nobody asks, and what cannot be watched is an error."""

import asyncio
from pathlib import Path

import pytest

from isolet.tasks import Tasks
from isolet.workspace.errors import WorkspaceError
from isolet.workspace.watching import Watch, folders_of

pytestmark = pytest.mark.anyio
_TIMEOUT_S = 60


async def seen(watch: Watch, path: Path) -> None:
    """Write until it is told: a watch begins a moment after it was asked for."""
    async with asyncio.timeout(_TIMEOUT_S):
        found: set[Path] = set()
        waiting = asyncio.create_task(watch.changed())
        while path not in found:
            await asyncio.to_thread(path.write_text, "x")
            done, _ = await asyncio.wait([waiting], timeout=0.1)
            if done:
                found |= waiting.result()
                waiting = asyncio.create_task(watch.changed())
        waiting.cancel()


async def test_changes_are_told_and_kept(tmp_path: Path) -> None:
    tasks = Tasks()
    watch = Watch(tasks)
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    assert watch.follow({one})
    await seen(watch, one / "a.js")
    # Fewer folders miss nothing, and further ones may have.
    assert not watch.follow({one})
    assert watch.follow({one, two})
    await seen(watch, two / "b.js")
    (one / "c.js").write_text("x")
    (one / ".c.js.swp").write_text("x")
    async with asyncio.timeout(_TIMEOUT_S):
        found: set[Path] = set()
        while one / "c.js" not in found:
            found |= await watch.changed()
    assert one / ".c.js.swp" not in found
    await tasks.close()


async def test_folders_that_cannot_be_watched_end_it(tmp_path: Path) -> None:
    tasks = Tasks()
    watch = Watch(tasks)
    gone = tmp_path / "gone"

    async def again() -> None:
        async with asyncio.timeout(_TIMEOUT_S):
            while True:
                # It goes away after it was looked at.
                gone.mkdir(exist_ok=True)
                watch.follow({gone})
                gone.rmdir()
                await watch.changed()

    with pytest.raises(WorkspaceError, match=r"cannot watch .*max_user_watches"):
        await again()
    await tasks.close()


def test_folders_of_packages_and_tools_are_not_watched(tmp_path: Path) -> None:
    for name in ("src/lib", "node_modules/hono/dist", ".git/objects", ".isolet/run"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "src/loop").symlink_to(tmp_path)
    assert folders_of(tmp_path) == {tmp_path, tmp_path / "src", tmp_path / "src/lib"}

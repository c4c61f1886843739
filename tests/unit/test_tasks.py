import ast
import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from isolet import tasks as isolet_tasks
from isolet.errors import FunctionCrashed, IsoletError, TooManyRequests, Unavailable
from isolet.tasks import Tasks, start_in


async def test_a_task_has_its_name_and_gives_its_result() -> None:
    async def work() -> int:
        return 42

    tasks = Tasks()
    task = tasks.spawn(work(), name="answer")

    assert (await task, task.get_name()) == (42, "answer")


async def test_a_task_that_fails_is_logged_and_ends_nobody_else() -> None:
    told: list[str] = []

    async def fail() -> None:
        raise RuntimeError("broken")

    tasks = Tasks(on_fatal=lambda: told.append("fatal"))
    with capture_logs() as logs:
        with pytest.raises(RuntimeError, match="broken"):
            await tasks.spawn(fail(), name="work")
        await asyncio.sleep(0)

    assert [(entry["event"], entry["task"]) for entry in logs] == [("background task failed", "work")]
    assert told == []


@pytest.mark.parametrize(
    "refusal", [TooManyRequests("full", retry_after_s=1), Unavailable("stopping"), FunctionCrashed("did not start")]
)
async def test_a_refusal_is_for_who_waits_and_not_for_the_log(refusal: IsoletError) -> None:
    async def refuse() -> None:
        raise refusal

    with capture_logs() as logs:
        with pytest.raises(type(refusal)):
            await Tasks().spawn(refuse(), name="work")
        await asyncio.sleep(0)

    assert logs == []


async def test_a_loop_that_dies_tells_the_owner_of_the_process() -> None:
    told = asyncio.Event()

    async def loop() -> None:
        raise RuntimeError("broken")

    with capture_logs() as logs:
        Tasks(on_fatal=told.set).loop(loop(), name="heart")
        async with asyncio.timeout(60):
            await told.wait()

    assert "background loop ended; the server stops" in [entry["event"] for entry in logs]


async def test_closing_ends_every_task_and_waits_for_it() -> None:
    ended: list[str] = []
    told: list[str] = []
    begun = asyncio.Event()

    async def forever(name: str) -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    tasks = Tasks(on_fatal=lambda: told.append("fatal"))
    spawned = tasks.spawn(forever("task"), name="task")
    tasks.loop(forever("loop"), name="loop")
    await begun.wait()

    with capture_logs() as logs:
        await tasks.close()

    assert sorted(ended) == ["loop", "task"]
    assert spawned.cancelled()
    assert (told, logs) == ([], [])


async def test_an_owner_has_a_task_until_it_ends() -> None:
    go_on = asyncio.Event()
    owned: set[asyncio.Task[None]] = set()

    async def work() -> None:
        await go_on.wait()

    start_in(asyncio.get_running_loop(), owned, work())
    (task,) = owned
    go_on.set()
    await task
    await asyncio.sleep(0)

    assert owned == set()


def test_only_the_module_of_tasks_and_task_groups_start_tasks() -> None:
    """ruff bans `asyncio.create_task` by its name; that of a loop has none."""
    here = Path(isolet_tasks.__file__)
    starts = {path: _starts_of_tasks(ast.parse(path.read_text())) for path in here.parent.rglob("*.py")}

    assert starts.pop(here)
    assert {path: lines for path, lines in starts.items() if lines} == {}


def test_starts_of_tasks_are_found() -> None:
    source = """
async def work(loop):
    loop.create_task(work(loop))
    make = asyncio.get_running_loop().create_task
    async with asyncio.TaskGroup() as group:
        group.create_task(work(loop))
"""

    assert _starts_of_tasks(ast.parse(source)) == [3, 4]


def _starts_of_tasks(module: ast.Module) -> list[int]:
    """The lines that take `create_task` from anything that is not the name of a task group."""
    groups = {
        item.optional_vars.id
        for node in ast.walk(module)
        if isinstance(node, ast.AsyncWith)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name) and ast.unparse(item.context_expr).endswith("TaskGroup()")
    }
    found = [node for node in ast.walk(module) if isinstance(node, ast.Attribute) and node.attr == "create_task"]
    return sorted(node.lineno for node in found if not (isinstance(node.value, ast.Name) and node.value.id in groups))

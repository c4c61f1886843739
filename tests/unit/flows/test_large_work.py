"""What counts as large work, and that one piece of it is done at a time."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from isolet.flows.large_work import LargeWork, is_large
from isolet.ids import ProjectId


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, False),
        ({"a": [1, "text" * 100, {"b": None}]}, False),
        ("x" * 100_000, True),
        (list(range(10_000)), True),
        ({str(number): number for number in range(10_000)}, True),
        ([["x" * 1_000] * 10] * 50, True),
    ],
)
def test_what_is_large(value: Any, expected: bool) -> None:
    assert is_large(value) is expected


async def test_projects_take_turns_and_one_works_at_a_time() -> None:
    work, order, go = LargeWork(), [], threading.Event()
    at_once, most = 0, 0

    def piece(name: str) -> str:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        assert go.wait(60)
        order.append(name)
        at_once -= 1
        return name

    async def ask(project: str, name: str) -> str:
        return await work.run(ProjectId(project), lambda: piece(name))

    asked = [asyncio.ensure_future(ask(name[0], name)) for name in ("a1", "a2", "a3", "b1")]
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(*asked) == ["a1", "a2", "a3", "b1"]
    assert (order, most) == (["a1", "b1", "a2", "a3"], 1)

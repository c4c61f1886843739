"""What JSON a body may be: values are counted without those in strings, and a close look is taken beside the loop."""

from __future__ import annotations

import json
import time

import pytest

from isolet.api.body import JsonForm
from isolet.api.request import MANAGEMENT_VALUES_MAX, ParsedForm
from isolet.domain.flows import graph
from isolet.errors import RequestError

MOST = MANAGEMENT_VALUES_MAX


@pytest.mark.parametrize(
    "text",
    [
        "[" + "0," * (MOST - 1) + "0]",
        "[" + "{}," * (MOST - 20) + "{}]",
        json.dumps({"code": ",[{" * 80_000}),
        json.dumps({"code": '",[{\\' * 40_000, "other": ["\ud800,"] * 100}),
        '{"code": ',
    ],
)
async def test_what_has_few_values_is_taken(text: str) -> None:
    body = text.encode()
    assert await ParsedForm().whole(body) == body


@pytest.mark.parametrize(
    "text",
    [
        "[" + "0," * (MOST + 1) + "0]",
        "[" + "{}," * (MOST + 20) + "{}]",
        '{"a":' + "[" * 9_000 + "0," * MOST,
        json.dumps({"name": ",[{" * 20_000, **{f"{n:x}": 0 for n in range(MOST + 1)}}, separators=(",", ":")),
    ],
)
async def test_a_small_body_of_more_values_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match=f"more than {MOST} values"):
        await ParsedForm().whole(text.encode())


def test_the_largest_graph_is_a_body() -> None:
    assert graph.VALUES_MAX + 1_000 < MOST


@pytest.mark.parametrize("end", ["", "]"])
async def test_what_the_quick_look_refuses_is_looked_at_beside_the_loop(end: str) -> None:
    body = ("[" + ",".join(["[" * 4_999 + "]" * 4_999] * 25) + end).encode()
    form = JsonForm()
    loop_s, whole_s = time.thread_time(), time.process_time()
    if end:
        assert await form.whole(body) == body
    else:
        with pytest.raises(RequestError):
            await form.whole(body)
    assert time.thread_time() - loop_s < (time.process_time() - whole_s) / 4

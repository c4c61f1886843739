"""JSON from a field is read whatever its size, and refused when it has too many values."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from isolet.dashboard.typed_json import TooManyValues, read_json
from isolet.domain.strict_json import VALUES_MAX


@pytest.mark.parametrize(
    "value", [{}, "x" * 900_000, [0] * (VALUES_MAX - 10), {"a": "\ud800é\0"}, {"n": [{"\n": 1.5}] * 9_000}]
)
async def test_json_is_read(value: Any) -> None:
    assert await read_json(json.dumps(value)) == value


@pytest.mark.parametrize("text", ["", "{", "[" + "1," * 20_000, "[" * 200_000, '{"a": "' + "x" * 20_000])
async def test_what_is_no_json_is_an_error(text: str) -> None:
    with pytest.raises((ValueError, RecursionError)) as caught:
        await read_json(text)
    assert not isinstance(caught.value, TooManyValues)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": NaN}', "NaN is no JSON"),
        ("[-Infinity]", "-Infinity is no JSON"),
        ("1e999", "1e999 is beyond a double"),
        ('{"a": 1, "b": [{"\\u0061": 1, "a": 2}]}', '"a" stands twice in one object'),
        ('["' + "x" * 20_000 + '", {"a": 1, "a": 1}]', '"a" stands twice in one object'),
    ],
)
async def test_what_the_api_would_refuse_or_change_is_refused_first(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        await read_json(text)


@pytest.mark.parametrize(
    "text", ["[" + "{}," * 300_000 + "{}]", "[" + "{}," * 300_000, '{"a":[' + "1," * VALUES_MAX + "1]}"]
)
async def test_too_many_values_are_refused(text: str) -> None:
    with pytest.raises(TooManyValues):
        await read_json(text)


async def test_large_json_is_read_beside_the_loop() -> None:
    text = json.dumps([{"a": 1}] * 30_000)
    loop_s, whole_s = time.thread_time(), time.process_time()
    await read_json(text)
    assert time.thread_time() - loop_s < (time.process_time() - whole_s) / 4

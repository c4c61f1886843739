import json

import pytest

from isolet.domain.json_bounds import SETTING_MAX_BYTES, SETTING_MAX_DEPTH, bounded_json
from isolet.errors import InvalidInput


def nested(levels: int) -> object:
    value: object = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize(
    "value",
    [None, 1, "x" * (SETTING_MAX_BYTES - 2), {"a": ["é"] * 100}, nested(SETTING_MAX_DEPTH), {"\ud800": "\ud800"}],
)
def test_what_is_small_is_taken_as_it_is(value: object) -> None:
    assert bounded_json("it", value) is value


@pytest.mark.parametrize(
    "value",
    [
        "x" * (SETTING_MAX_BYTES - 1),
        {"x" * SETTING_MAX_BYTES: 1},
        "é" * (SETTING_MAX_BYTES // 6 + 1),
        [1] * (SETTING_MAX_BYTES // 2 + 1),
        {"a": ["x" * 100] * 1000},
        [[]] * 50_000,
    ],
)
def test_what_is_too_large_is_refused(value: object) -> None:
    assert len(json.dumps(value, separators=(",", ":"))) > SETTING_MAX_BYTES
    with pytest.raises(InvalidInput, match=r"^it is too large \(maximum is 65536 bytes of JSON\)$"):
        bounded_json("it", value)


@pytest.mark.parametrize("levels", [SETTING_MAX_DEPTH + 1, 900, 30_000])
def test_what_is_nested_too_deeply_is_refused(levels: int) -> None:
    with pytest.raises(InvalidInput, match=r"^it is nested too deeply \(maximum is 64 levels\)$"):
        bounded_json("it", nested(levels))

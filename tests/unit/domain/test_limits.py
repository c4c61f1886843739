import os
from typing import Any

import pytest

from isolet.domain.limits import Limits, check_bound, from_runtime_config
from isolet.errors import InvalidInput

BOUNDS = {
    "timeout_ms": (1, 86_400_000),
    "cpu_ms": (1, 300_000),
    "memory_limit_mb": (64, 1024),
    "concurrency": (1, 1000),
    "max_instances": (1, 64),
}


def test_the_defaults_are_those_of_the_seeds() -> None:
    assert Limits().to_json() == {
        "timeout_ms": 30_000,
        "cpu_ms": 10_000,
        "memory_limit_mb": 128,
        "concurrency": 100,
        "max_instances": os.cpu_count(),
    }


@pytest.mark.parametrize(("name", "low", "high"), [(name, *bounds) for name, bounds in BOUNDS.items()])
def test_a_limit_holds_within_its_bounds(name: str, low: int, high: int) -> None:
    for value in (low, high):
        assert getattr(Limits().changed({name: value}), name) == value
    for value in (low - 1, high + 1):
        with pytest.raises(InvalidInput, match=rf"^{name} must be a whole number from {low} to {high}$"):
            Limits().changed({name: value})


@pytest.mark.parametrize("value", [True, False, 100.0, "100", None, [100]])
def test_a_limit_is_a_whole_number(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"^timeout_ms must be a whole number"):
        check_bound("timeout_ms", value)


def test_a_bad_limit_changes_none() -> None:
    before = Limits()
    with pytest.raises(InvalidInput):
        before.changed({"cpu_ms": 5, "concurrency": 0})
    assert before == Limits()


def test_stored_limits_are_read_back_whatever_else_stands_there() -> None:
    limits = Limits(timeout_ms=5, cpu_ms=6, memory_limit_mb=64, concurrency=7, max_instances=8)
    assert Limits.from_json({**limits.to_json(), "of_a_later_release": 1}) == limits
    assert Limits.from_json({"cpu_ms": 6}) == Limits(cpu_ms=6)


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        (None, {}),
        ({}, {}),
        ({"timeout": 30, "memory": 256}, {"timeout_ms": 30_000, "memory_limit_mb": 256}),
        ({"timeout": 0.25}, {"timeout_ms": 250}),
        (
            {"timeout_ms": 9, "cpu_ms": 8, "memory_limit_mb": 64},
            {"timeout_ms": 9, "cpu_ms": 8, "memory_limit_mb": 64},
        ),
        ({"region": {"any": ["thing"]}, "concurrency": "many"}, {}),
    ],
)
def test_a_runtime_config_names_limits(config: dict[str, Any] | None, changes: dict[str, int]) -> None:
    assert from_runtime_config(config) == changes


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"timeout": "30"}, "runtime_config.timeout must be a number of seconds"),
        ({"timeout": True}, "runtime_config.timeout must be a number of seconds"),
        ({"timeout": 0}, "runtime_config.timeout in milliseconds must be a whole number from 1 to 86400000"),
        ({"timeout": 86_401}, "runtime_config.timeout in milliseconds must be a whole number from 1 to 86400000"),
        ({"timeout": 1e308}, "runtime_config.timeout in milliseconds must be a whole number from 1 to 86400000"),
        ({"timeout": 10**400}, "runtime_config.timeout in milliseconds must be a whole number from 1 to 86400000"),
        ({"memory": 63}, "runtime_config.memory must be a whole number from 64 to 1024"),
        ({"memory": "128"}, "runtime_config.memory must be a whole number from 64 to 1024"),
        ({"timeout_ms": 0}, "runtime_config.timeout_ms must be a whole number from 1 to 86400000"),
        ({"cpu_ms": None}, "runtime_config.cpu_ms must be a whole number from 1 to 300000"),
        ({"memory_limit_mb": 2048}, "runtime_config.memory_limit_mb must be a whole number from 64 to 1024"),
    ],
)
def test_a_limit_out_of_bounds_in_a_runtime_config_is_told(config: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidInput) as told:
        from_runtime_config(config)
    assert told.value.message == complaint

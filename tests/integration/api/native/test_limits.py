"""What a server tells of its limits, on one with settings of its own."""

from __future__ import annotations

from pathlib import Path

import httpx

from isolet.domain.limits import Limits
from tests.support.server import Server


def test_the_limits_are_those_of_the_settings_and_of_the_code(tmp_path: Path) -> None:
    settings = {"max_body_mb": 3, "body_memory_mb": 8, "rate_limits": "free=7", "retention_days": 2, "max_instances": 9}
    with Server(tmp_path / "data", **settings) as server:
        assert httpx.get(f"{server.url}/isolet/v1/limits").status_code == 401
        with server.client() as client:
            told = client.get("/isolet/v1/limits").json()
    assert told["function"]["timeout_ms"] == {"default": 30_000, "minimum": 1, "maximum": 86_400_000}
    assert {name: bounds["default"] for name, bounds in told["function"].items()} == Limits().to_json()
    assert told["call"]["body_bytes"] == 3 * 1024 * 1024
    assert (told["call"]["headers"], told["call"]["head_bytes"]) == (200, 65_536)
    assert (told["call"]["bodies_memory_bytes"], told["call"]["project_bodies_memory_bytes"]) == (8 << 20, 2 << 20)
    assert (told["call"]["bodies_disk_bytes"], told["call"]["project_bodies_disk_bytes"]) == (4 << 30, 1 << 30)
    assert (told["call"]["waiting"], told["call"]["project_waiting"]) == (2_500, 5_000)
    assert (told["call"]["body_window_s"], told["call"]["body_least_bytes_s"]) == (30, 1024)
    assert told["setting"] == {"json_bytes": 65_536, "json_depth": 64}
    assert told["deploy"]["code_bytes"] == 1024 * 1024
    assert (told["deploy"]["compile_memory_bytes"], told["deploy"]["compile_cpu_s"]) == (256 << 20, 10)
    assert (told["deploy"]["waiting_a_function"], told["deploy"]["versions_kept"]) == (1, 20)
    assert told["record"] == {"body_bytes": 16_384, "error_chars": 512, "kept_days": 2, "kept_rows": 100_000}
    assert told["kv"] == {"key_bytes": 512, "value_bytes": 25 * 1024 * 1024, "metadata_bytes": 1024}
    assert told["database"] == {"bytes": 10 * 1024**3, "statement_bytes": 100_000}
    assert told["flows"]["variables_bytes"] == 1024 * 1024
    assert (told["flows"]["steps"], told["flows"]["call_depth"], told["flows"]["steps_at_once"]) == (1_000, 10, 64)
    assert told["secret"] == {"name_chars": 128, "value_bytes": 65_536}
    assert told["project"] == {
        "max_instances": 4,
        "storage_mb": 10_240,
        "queued_calls": 100_000,
        "queued_mb": 512,
        "records_mb": 1_024,
        "functions": 1_000,
        "log_streams": 50,
        "connections": 1_000,
        "realtime_connections": 5_000,
        "channels": 1_000,
        "runs": 10_000,
        "runs_mb": 1_024,
        "keys": 1_000,
        "results_mb": 4_096,
        "code_mb": 10_240,
        "schedules": 5_000,
        "settings_mb": 64,
    }
    rates = told["requests_a_minute"]
    assert (rates["unlimited"], rates["free"]) == (None, 7)
    assert set(rates) == {"unlimited", "free", "pro", "enterprise", "platform"}

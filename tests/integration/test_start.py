"""What `isolet serve` loads before it serves: a start that is quick stays so while nothing heavy comes into it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Each takes 50 ms to half a second to load, and serves no call: what needs one loads it then.
HEAVY = {
    "alembic",
    "fastapi",
    "httpx",
    "jinja2",
    "joserfc",
    "opentelemetry",
    "prometheus_client",
    "pydantic",
    "sqlalchemy.dialects.postgresql",
    "starlette",
}
_PROGRAM = """
import asyncio, json, os, signal, sys
from pathlib import Path
from isolet.cli import main
from isolet import settings
from isolet.server import serve

def told(_):
    Path(sys.argv[2]).write_text(json.dumps({"modules": sorted(sys.modules), "interval_s": sys.getswitchinterval()}))
    os.kill(os.getpid(), signal.SIGTERM)

chosen = settings.load({}, {"port": "0", "data_dir": sys.argv[1]})
asyncio.run(serve(chosen, on_started=told))
"""


def _started(folder: Path) -> dict[str, Any]:
    told = folder / "modules.json"
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, folder / "data", told],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(told.read_text())
    return found


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What a server is like when it is ready, at its first start and at the next."""
    folder = tmp_path_factory.mktemp("starts")
    return [_started(folder) for _ in range(2)]


def test_a_server_that_serves_has_loaded_nothing_that_calls_do_not_need(starts: list[dict[str, Any]]) -> None:
    first, loaded = (set(start["modules"]) for start in starts)
    # It makes the tables, whose partial indexes need the dialects of all databases.
    assert first & HEAVY == {"sqlalchemy.dialects.postgresql"}
    assert {"isolet.api.gateway", "sqlalchemy"} <= loaded
    assert loaded & HEAVY == set()


def test_threads_give_way_to_the_loop_before_calls_stand_in_line(starts: list[dict[str, Any]]) -> None:
    # A call wakes the loop some four times, each of which waits for the interpreter while a thread calculates.
    assert starts[-1]["interval_s"] <= 0.001


_CROWD = """
import gc
from isolet.server import _settle_memory

_settle_memory()
found = []
gc.callbacks.append(lambda phase, told: found.append(told["collected"]) if phase == "stop" else None)
for _ in range(10):
    kept = []
    for _ in range(30_000):
        # What a failed call leaves refers to itself.
        one = []
        one.append(one)
        kept.append(one)
print(max(found))
"""


def test_what_hundreds_of_failed_calls_leave_is_collected_in_small_parts() -> None:
    done = subprocess.run([sys.executable, "-c", _CROWD], capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) <= 20_000

"""What `isolet serve` loads before it serves: a start that is quick stays so while nothing heavy comes into it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def _loaded(folder: Path) -> set[str]:
    """The modules of a server at the moment in which it is ready."""
    return set(_started(folder)["modules"])


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


def test_a_server_that_serves_has_loaded_nothing_that_calls_do_not_need(tmp_path: Path) -> None:
    first = _loaded(tmp_path)
    # It makes the tables, whose partial indexes need the dialects of all databases.
    assert first & HEAVY == {"sqlalchemy.dialects.postgresql"}

    loaded = _loaded(tmp_path)

    assert {"isolet.api.gateway", "sqlalchemy"} <= loaded
    assert loaded & HEAVY == set()


def test_threads_give_way_to_the_loop_before_calls_stand_in_line(tmp_path: Path) -> None:
    # A call wakes the loop some four times, each of which waits for the interpreter while a thread calculates.
    assert _started(tmp_path)["interval_s"] <= 0.001

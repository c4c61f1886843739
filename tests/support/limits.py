"""What the tests of limits share: functions with small limits, records of calls, the processes of instances."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Mapping
from typing import Any

import httpx
import psutil
from msgspec import Struct

from tests.support.kapso import Kapso
from tests.support.server import Server
from tests.support.waiting import wait_until


class Record(Struct, frozen=True, kw_only=True):
    """What is stored of a call."""

    status: int
    outcome: str
    report: Mapping[str, Any] | None
    error: str | None
    console: str


def limited(kapso: Kapso, code: str, **limits: int) -> str:
    """A deployed function with these limits; its id."""
    function_id = str(kapso.create(code)["id"])
    reply = kapso.client.patch(f"/isolet/v1/functions/{function_id}", json=limits)
    assert reply.status_code == 200, reply.text
    function = kapso.deploy(function_id)
    assert function["status"] == "deployed", function["deploy_error"]
    return function_id


def record_of(server: Server, reply: httpx.Response) -> Record:
    """The record of the call that gave this reply, once it is written."""
    invocation_id = reply.headers["x-invocation-id"]

    def look() -> tuple[Any, ...] | None:
        database = sqlite3.connect(server.data_dir / "isolet.db")
        try:
            found = database.execute(
                "SELECT status, outcome, kill_report, error, console FROM invocations WHERE id = ?", (invocation_id,)
            ).fetchone()
        finally:
            database.close()
        return None if found is None else tuple(found)

    row = wait_until(look, what="the record of the call")
    assert row is not None
    status, outcome, report, error, console = row
    return Record(
        status=status, outcome=outcome, report=json.loads(report) if report else None, error=error, console=console
    )


def function_instances(server: Server) -> set[int]:
    """The pids of those of them that run functions: they alone have no network."""
    found = set()
    for pid in instances(server):
        with contextlib.suppress(psutil.NoSuchProcess):
            sandbox = psutil.Process(pid).parent()
            if sandbox is not None and "--share-net" not in sandbox.cmdline():
                found.add(pid)
    return found


def instances(server: Server) -> set[int]:
    """The pids of the workerd processes that run functions or egress: all that serve one socket."""
    found = set()
    for process in server.children():
        try:
            if process.name() == "workerd" and any(part.startswith("--socket-fd=http=") for part in process.cmdline()):
                found.add(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found

"""The pages of the dashboard over 1,000 functions and a million calls: what each takes to its last byte, how often it
asks the database, and when the browser shows it.

`BENCH_RECORDS` says how many calls there are, `BENCH_FUNCTIONS` how many functions.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from isolet.clock import iso
from isolet.dashboard.pages.function_calls import KINDS, STATUSES
from isolet.dashboard.pages.function_metrics import WINDOWS
from tests.bench import seeding
from tests.bench.report import Figure, single
from tests.support.browser import Browser
from tests.support.dashboard import Desk
from tests.support.server import ROOT_KEY, Server
from tests.support.statements import Statements
from tests.support.waiting import wait_until
from tests.support.workflows import a_line, a_node

_RECORDS = int(os.environ.get("BENCH_RECORDS", "1000000"))
_FUNCTIONS = int(os.environ.get("BENCH_FUNCTIONS", "1000"))
_ROUNDS = 40
_SPAN_MS = 5 * 24 * 3600 * 1000
# Half of all calls are of so many functions.
_BUSY = 10
_PROJECTS, _VERSIONS, _SCHEDULES, _FIRINGS, _KEYS, _FLOWS, _RUNS = 200, 200, 90, 20_000, 500, 400, 100_000
_OPENED = 10
# Of 100 calls one fails, five are asynchronous.
_FAILED, _ASYNC, _OK = "n % 100 = 0", "n % 20 = 1", "n % 100 <> 0 AND n % 20 <> 1"
# When an element is there, in milliseconds since the page was asked for.
_NOTICE = """
  const look = () => {
    if (document.querySelector(%s) && document.readyState !== "loading") window.usableMs ??= performance.now();
    else requestAnimationFrame(look);
  };
  look();
"""
_V1 = "/isolet/v1"
_CODE = """import { total } from "./prices.js";

export default {
  async fetch(request, env) {
    const { items = [] } = await request.json();
    if (items.length === 0) throw new Error("an order needs items");
    console.log("order of", items.length, "items");
    return Response.json({ cost: total(items), currency: "EUR" }, { status: 201 });
  },

  async scheduled() {},
};
"""
_PRICES = "export const total = (items) => items.reduce((sum, item) => sum + item.count, 0);\n"
_SQL = (
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) "
    "INSERT INTO orders SELECT i, 'order ' || i FROM n",
)
# Nothing of it is deleted meanwhile.
_KEPT: Mapping[str, Any] = {"retention_rows": 10 * _RECORDS, "project_records_mb": 100_000}


def run() -> Sequence[Figure]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        data = folder / "data"
        with Server(data, **_KEPT) as server, server.client() as root:
            known = _originals(root, server.pages_url)
        began = time.perf_counter()
        with closing(seeding.connect(str(data / "isolet.db"))) as connection:
            _multiply(connection, known)
            middle = "SELECT id FROM functions ORDER BY id LIMIT 1 OFFSET ?"
            known["middle"] = connection.execute(middle, (_FUNCTIONS // 2,)).fetchone()[0]
        seeded = single("making the rows", "s", [time.perf_counter() - began])
        statements = Statements(folder / "statements")
        with Server(data, statements=statements, **_KEPT) as server:
            return [seeded, *_measure(server, statements, known), *_browse(server, folder, known)]


def _originals(root: httpx.Client, pages_url: str) -> dict[str, str]:
    """One of everything, made by the server; the ids that pages and copies need."""
    here = f"{_V1}/projects/default"
    for code in (_CODE, _CODE + "// once more\n"):
        sent = {"files": {"index.js": code, "prices.js": _PRICES}, "variables": {"TAX": "19"}}
        root.put(f"{here}/functions/orders", params={"wait": 60}, json=sent).raise_for_status()
    function_id = str(root.get(f"{here}/functions/orders").json()["id"])
    root.put(f"{_V1}/functions/{function_id}/secrets/TOKEN", json={"value": "x"}).raise_for_status()
    schedule = root.post(f"{_V1}/functions/{function_id}/schedules", json={"cron": "0 22 * * *"}).raise_for_status()
    root.post(f"{_V1}/schedules/{schedule.json()['id']}/run").raise_for_status()
    for items in ([{"name": "tea", "count": 4}], []):
        root.post("/f/default/orders/", json={"items": items})
    for number in range(60):
        root.put(f"{here}/kv/order:{number}", content=b"{}").raise_for_status()
    for sql in _SQL:
        root.post(f"{here}/database/query", json={"sql": sql}).raise_for_status()
    callback = {"x-callback-url": "https://unknown.invalid/done"}
    root.post("/spaces/default/functions/orders/async-invoke", json={}, headers=callback).raise_for_status()
    graph = a_line(a_node("greet", "set_variable", variable_name="said", variable_value="hello"))
    flow = root.post(f"{here}/flows", json={"name": "Orders", "definition": graph}).json()["id"]
    root.patch(f"{_V1}/flows/{flow}", json={"status": "active"}).raise_for_status()
    run_id = root.post(f"{here}/flows/{flow}/executions", json={}).raise_for_status().json()["id"]
    with httpx.Client(base_url=pages_url, trust_env=False) as browser:
        _sign_in(browser, pages_url)
    root.post(f"{here}/keys", json={"name": "one", "role": "read"}).raise_for_status()

    def ended() -> bool:
        failed = root.get(f"{_V1}/invocations", params={"kind": "async", "status": "failed"}).json()["data"]
        return bool(failed) and root.get(f"{_V1}/executions/{run_id}").json()["status"] == "ended"

    wait_until(ended, what="an asynchronous call and a run have ended")
    wait_until(lambda: root.get(f"{_V1}/deliveries").json()["data"], what="a callback was tried")
    return {
        "function": function_id,
        "flow": flow,
        "run": run_id,
        "schedule": schedule.json()["id"],
        "call": root.get(f"{_V1}/invocations", params={"function": "orders"}).json()["data"][0]["id"],
    }


def _sign_in(client: httpx.Client, pages_url: str) -> None:
    client.post("/dashboard/login", data={"key": ROOT_KEY}, headers={"Origin": pages_url})


def _multiply(connection: sqlite3.Connection, known: Mapping[str, str]) -> None:
    now = time.time_ns() // 1_000_000
    copy = partial(seeding.copy, connection)
    connection.execute("BEGIN")
    named = {"name": "'Project ' || n", "slug": "'project-' || n"}
    copy("projects", "slug = 'default'", _PROJECTS, {"id": seeding.id_of(str(now)), **named})
    _multiply_functions(connection, known, now)
    with seeding.without_indexes(connection, "invocations"):
        _multiply_calls(connection, known, now)
    _multiply_flows(connection, known, now)
    of_function = f"function_id = '{known['function']}'"
    copy("versions", of_function, _VERSIONS, {"number": "n + 2"})
    copy("schedules", of_function, _SCHEDULES, {"id": seeding.id_of(str(now)), "name": "'at ' || n", "enabled": "0"})
    copy("firings", "true", _FIRINGS, {"id": seeding.id_of(f"{now} + n"), "key": "'at ' || n"})
    copy("api_keys", "true", _KEYS, {"id": seeding.id_of(str(now)), "digest": "randomblob(32)"})
    copy("sessions", "true", _KEYS, {"id": seeding.id_of(str(now)), "token_digest": "randomblob(32)"})
    seeding.roll_up(connection, now)
    connection.execute("COMMIT")


def _multiply_functions(connection: sqlite3.Connection, known: Mapping[str, str], now: int) -> None:
    """With what each has, and with a number for each: 0 is the one whose pages are asked for."""
    one = f"id = '{known['function']}'"
    name = {"name": "'Function ' || n", "slug": "'function-' || n"}
    seeding.copy(connection, "functions", one, _FUNCTIONS - 1, {"id": seeding.id_of(str(now)), **name})
    connection.execute(
        "CREATE TEMP TABLE numbered AS SELECT row_number() OVER (ORDER BY id <> ?) - 1 AS place, id, name "
        "FROM functions",
        (known["function"],),
    )
    connection.execute("CREATE UNIQUE INDEX temp.numbered_place ON numbered (place)")
    joins, of_function = "JOIN numbered ON place = n", f"function_id = '{known['function']}'"
    for table in ("function_sources", "versions"):
        changed = {"function_id": "numbered.id"}
        seeding.copy(connection, table, of_function, _FUNCTIONS - 1, changed, joins=joins)


def _multiply_calls(connection: sqlite3.Connection, known: Mapping[str, str], now: int) -> None:
    at_ms = f"({now - _SPAN_MS} + n * {_SPAN_MS} / {_RECORDS})"
    number = f"CASE WHEN n % 2 THEN n / 2 % {_BUSY} ELSE n / 2 % {_FUNCTIONS} END"
    copy = partial(seeding.copy, connection, joins=f"JOIN numbered ON place = {number}", count=_RECORDS)
    changed = {
        "id": seeding.id_of(at_ms),
        "function_id": "numbered.id",
        "function_name": "numbered.name",
        "started_at_ms": at_ms,
        "duration_us": "1000 + n * 7919 % 50000",
    }
    of_function = f"function_id = '{known['function']}' AND kind"
    answered = {**changed, "status": "CASE WHEN n % 50 = 3 THEN 404 ELSE 201 END"}
    copy("invocations", f"{of_function} = 'sync' AND outcome = 'ok'", only=_OK, changed=answered)
    copy("invocations", f"{of_function} = 'sync' AND outcome <> 'ok'", only=_FAILED, changed=changed)
    copy("invocations", f"{of_function} = 'async'", only=_ASYNC, changed=changed)
    job = {
        "id": seeding.id_of(at_ms),
        "function_id": "numbered.id",
        "function_name": "numbered.name",
        "created_at_ms": at_ms,
        "due_at_ms": at_ms,
        "finished_at_ms": f"{at_ms} + 1000",
    }
    copy("jobs", "kind = 'call'", only=_ASYNC, changed=job)
    sent = {"id": seeding.id_of(f"{at_ms} + 1"), "parent_id": seeding.id_of(at_ms), "state": "'failed'"}
    copy("jobs", "kind = 'callback'", only=_ASYNC, changed={**job, **sent})


def _multiply_flows(connection: sqlite3.Connection, known: Mapping[str, str], now: int) -> None:
    name = {"name": "'Flow ' || n", "slug": "'flow-' || n"}
    flow = seeding.id_of(str(now))
    seeding.copy(connection, "workflows", f"id = '{known['flow']}'", _FLOWS, {"id": flow, **name})
    seeding.copy(connection, "workflow_graphs", f"workflow_id = '{known['flow']}'", _FLOWS, {"workflow_id": flow})
    at_ms = f"({now - _SPAN_MS} + n * {_SPAN_MS} / {_RUNS})"
    times = dict.fromkeys(("started_at_ms", "last_event_at_ms", "ended_at_ms"), at_ms)
    status = "CASE WHEN n % 100 THEN 'ended' ELSE 'failed' END"
    seeding.copy(connection, "executions", "true", _RUNS, {"id": seeding.id_of(at_ms), "status": status, **times})


def _pages(known: Mapping[str, str]) -> dict[str, str]:
    project = "/dashboard/projects/default"
    one, middle = f"{project}/functions/{known['function']}", f"{project}/functions?cursor={known['middle']}"
    calls, failed = f"{one}/invocations", f"{project}/queue?status=failed"
    at = iso(time.time_ns() // 1_000_000 - _SPAN_MS // 2)
    return {
        "projects": "/dashboard/projects",
        "functions": f"{project}/functions",
        "functions, page in the middle": middle,
        "functions, searched": f"{project}/functions?q=99",
        "code": f"{one}/code",
        "try it": f"{one}/try",
        "invocations": calls,
        **{f"invocations, status {name}": f"{calls}?status={name}" for name in STATUSES},
        **{f"invocations, kind {name}": f"{calls}?kind={name}" for name in KINDS},
        "invocations with a text": f"{calls}?q=orders",
        "invocations with a rare text": f"{calls}?q=nowhere",
        "invocations that failed with a rare text": f"{calls}?status=failed&q=nowhere",
        "invocations since": f"{calls}?since={at}",
        "invocations until": f"{calls}?until={at}",
        "one invocation": f"{calls}/{known['call']}",
        "logs": f"{one}/logs",
        **{f"metrics over {window}": f"{one}/metrics?window={window}" for window in WINDOWS},
        "secrets": f"{one}/secrets",
        "triggers": f"{one}/triggers",
        "firings of a schedule": f"{one}/triggers/{known['schedule']}",
        "versions": f"{one}/versions",
        "settings": f"{one}/settings",
        "KV": f"{project}/kv",
        "SQL": f"{project}/sql",
        "queue": f"{project}/queue",
        "queue, failed": failed,
        "callbacks": f"{project}/queue/callbacks",
        "callbacks, failed": f"{project}/queue/callbacks?status=failed",
        "flows": f"{project}/flows",
        "one flow": f"{project}/flows/{known['flow']}",
        "runs": f"{project}/runs",
        "runs that failed": f"{project}/runs?status=failed",
        "runs that wait: none": f"{project}/runs?status=waiting",
        "one run": f"{project}/runs/{known['run']}",
        "realtime": f"{project}/realtime",
        "keys and tokens": f"{project}/keys",
        "usage": f"{project}/usage",
        "system": "/dashboard/system",
        "sessions": "/dashboard/sessions",
    }


def _measure(server: Server, statements: Statements, known: Mapping[str, str]) -> list[Figure]:
    """In turn, so that what happens beside it falls upon all of them."""
    pages = _pages(known)
    spent: dict[str, list[float]] = {name: [] for name in pages}
    with httpx.Client(base_url=server.pages_url, trust_env=False, timeout=60) as client:
        _sign_in(client, server.pages_url)
        asked = {name: statements.of(partial(_get, client, path)) for name, path in pages.items()}
        for _ in range(_ROUNDS):
            for name in random.sample(list(pages), len(pages)):
                spent[name].append(_get(client, pages[name]))
    figures = []
    for name, values in spent.items():
        figures.append(single(f"{name}: p50", "ms", [statistics.median(values)]))
        figures.append(
            single(f"{name}, {len(asked[name])} queries: p95", "ms", [statistics.quantiles(values, n=20)[-1]])
        )
    return figures


def _get(client: httpx.Client, path: str) -> float:
    """In milliseconds, to the last byte."""
    began = time.perf_counter()
    reply = client.get(path)
    taken = (time.perf_counter() - began) * 1000
    if reply.status_code != 200:
        raise AssertionError(f"{path} answered {reply.status_code}")
    return taken


def _browse(server: Server, folder: Path, known: Mapping[str, str]) -> list[Figure]:
    """From the click to a page that can be used: read, or typed into. The first time the browser has nothing of it."""
    project = f"{server.pages_url}/dashboard/projects/default"
    usable = {
        "functions": (f"{project}/functions", "main tbody tr"),
        "code": (f"{project}/functions/{known['function']}/code", ".cm-content"),
        "invocations": (f"{project}/functions/{known['function']}/invocations", "main tbody tr"),
    }
    figures = []
    with Browser(folder) as browser:
        for name, (address, element) in usable.items():
            with browser.page() as page:
                Desk(page=page, server=server, slug="default").sign_in(ROOT_KEY)
                page.send("Page.addScriptToEvaluateOnNewDocument", source=_NOTICE % json.dumps(element))
                taken = [float(page.open(address).wait_for("window.usableMs", name)) for _ in range(_OPENED)]
            figures.append(single(f"{name}: usable in Chromium, first", "ms", taken[:1]))
            figures.append(single(f"{name}: usable in Chromium, again", "ms", taken[1:]))
    return figures

"""Secrets and variables that change while calls run: every call sees a value, and none that was replaced before."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.projects import Project, new_project
from tests.support.server import Server
from tests.support.waiting import wait_until

SHOW = """
import { env as imported } from "cloudflare:workers";
const loaded = process.env.VALUE;
export default { fetch: (request, env) => Response.json({ value: env.VALUE ?? "undefined",
  imported: imported.VALUE ?? "undefined",
  process: process.env.VALUE ?? "undefined", loaded: loaded ?? "undefined" }) };
"""
_CALLERS = 3


@pytest.fixture(scope="module")
def home(server: Server, root: httpx.Client) -> Iterator[Project]:
    with new_project(server, root) as project:
        yield project


def _secret(home: Project, function_id: str, value: str) -> httpx.Response:
    return home.client.put(f"/isolet/v1/functions/{function_id}/secrets/VALUE", json={"value": value})


def _variable(home: Project, function_id: str, value: str) -> httpx.Response:
    return home.client.patch(f"/isolet/v1/functions/{function_id}/variables", json={"VALUE": value})


def _kapso(home: Project, function_id: str, value: str) -> httpx.Response:
    body = {"secret": {"name": "VALUE", "value": value}}
    return home.client.post(f"/platform/v1/functions/{function_id}/secrets", json=body)


def _butterbase(home: Project, function_id: str, value: str) -> httpx.Response:
    return home.client.patch(f"/v1/{home.slug}/functions/shown/env", json={"envVars": {"VALUE": value}})


@pytest.mark.parametrize("changes", [[_secret, _kapso, _butterbase], [_variable] * 3], ids=["secret", "variable"])
def test_no_call_sees_a_gap(home: Project, changes: list[Callable[[Project, str, str], httpx.Response]]) -> None:
    url = f"/isolet/v1/projects/{home.slug}/functions/shown"
    made = home.client.put(url, json={"code": SHOW, "access": "public"}, params={"wait": 120})
    function_id = made.json()["id"]
    assert changes[0](home, function_id, "0").status_code < 300
    stop, current, calls = threading.Event(), [0], Counter[int]()

    def caller(number: int) -> list[str]:
        wrong = []
        with home.server.client("") as client:
            while not stop.is_set():
                least = current[0]
                reply = client.get(f"/f/{home.slug}/shown")
                seen = set(reply.json().values()) if reply.status_code == 200 else set()
                if len(seen) != 1 or not seen.pop().isdecimal() or int(reply.json()["value"]) < least:
                    wrong.append(f"{reply.status_code} {reply.text} after {least}")
                calls[number] += 1
        return wrong

    with ThreadPoolExecutor(_CALLERS) as threads:
        callers = [threads.submit(caller, number) for number in range(_CALLERS)]
        try:
            for value, change in enumerate(changes, 1):
                assert change(home, function_id, str(value)).status_code < 300
                current[0] = value
                goal = {number: calls[number] + 2 for number in range(_CALLERS)}
                wait_until(lambda goal=goal: all(calls[one] >= goal[one] for one in goal), what="the calls")
        finally:
            stop.set()
        assert [future.result() for future in callers] == [[]] * _CALLERS
    assert home.client.delete(url).status_code == 204


def test_a_variable_stands_above_a_secret_of_its_name_wherever_it_is_read(home: Project) -> None:
    url = f"/isolet/v1/projects/{home.slug}/functions/above"
    body = {"code": SHOW, "access": "public", "variables": {"VALUE": "1"}}
    function_id = home.client.put(url, json=body, params={"wait": 120}).json()["id"]
    assert _secret(home, function_id, "2").status_code == 200
    assert set(home.client.get(f"/f/{home.slug}/above").json().values()) == {"1"}
    assert home.client.patch(f"/isolet/v1/functions/{function_id}/variables", json={"VALUE": None}).status_code == 200
    assert set(home.client.get(f"/f/{home.slug}/above").json().values()) == {"2"}

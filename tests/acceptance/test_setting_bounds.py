"""How large settings may be that are JSON of their owner's choice, at every door that takes them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import uuid
from typing import Any

import httpx
import pytest

from tests.support.altair import Altair
from tests.support.butterbase import Butterbase, SharedButterbase
from tests.support.kapso import Kapso
from tests.support.projects import Project
from tests.support.server import Server

CODE = "export default { fetch: () => new Response('ok') };"
OK = "export async function handler() { return new Response('ok'); }"


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


HOSTILE = [
    pytest.param({"a": "x" * 65_536}, "too large", id="long"),
    pytest.param({"a" * 65_536: 1}, "too large", id="name"),
    pytest.param({"a": [0] * 35_000}, "too large", id="many"),
    pytest.param({"a": "\u00e9" * 20_000}, "too large", id="escapes"),
    pytest.param(nested(100), "nested too deeply", id="deep"),
    pytest.param({"a": "x" * 4_000_000}, "too large", id="very-long"),
]


@pytest.mark.parametrize("base", ["/platform/v1", "/api/v1"])
@pytest.mark.parametrize(("value", "says"), HOSTILE)
def test_a_runtime_config(common_home: Project, base: str, value: Any, says: str) -> None:
    project = common_home.client
    made = {"name": "one", "code": CODE, "runtime_config": {"a": "before"}}
    function = project.post(f"{base}/functions", json={"function": made}).json()["data"]
    path = f"{base}/functions/{function['id']}"
    before, listed = project.get(path).json(), project.get(f"{base}/functions").json()

    changed = project.patch(path, json={"function": {"name": "two", "runtime_config": value}})
    created = project.post(f"{base}/functions", json={"function": {**made, "name": "new", "runtime_config": value}})

    for reply in (changed, created):
        assert (reply.status_code, says in reply.json()["error"]) == (422, True), reply.text[:300]
        assert reply.json()["error"].startswith("runtime_config is ")
    assert project.get(path).json() == before
    assert project.get(f"{base}/functions").json() == listed


@pytest.mark.parametrize(("value", "says"), HOSTILE)
def test_options_of_altair(home: Project, value: Any, says: str) -> None:
    altair = Altair(home.client, home.slug)
    altair.running("one", CODE, options={"topics": "before"}, env={"A": "1"})
    before = home.client.get(f"{altair.base}/one").json()

    created = altair.create("two", CODE, options=value)
    replaced = home.client.put(f"{altair.base}/one", json={"options": value, "env": {"A": "2"}})

    for reply in (created, replaced):
        message = reply.json()["error"]["message"]
        assert (reply.status_code, message.startswith("options is "), says in message) == (422, True, True)
    assert home.client.get(f"{altair.base}/one").json() == before
    assert [one["name"] for one in home.client.get(altair.base).json()["data"]] == ["one"]


@pytest.mark.parametrize("kind", ["http", "cron", "webhook", "websocket", "s3_upload"])
@pytest.mark.parametrize(("value", "says"), HOSTILE)
def test_a_trigger(shared: SharedButterbase, kind: str, value: dict[str, Any], says: str) -> None:
    needed = {"webhook": {"provider": "custom", "secret": "s"}, "cron": {"schedule": "* * * * *"}}.get(kind, {})
    trigger = {"type": kind, "config": {**needed, **value}}

    before = shared.client.get(shared.base).json()
    for sent in ({"trigger": trigger}, {"triggers": [trigger]}):
        reply = shared.client.post(shared.base, json={"name": "one", "code": OK, **sent})
        assert (reply.status_code, says in reply.text) == (400, True), reply.text[:300]
    assert shared.client.get(shared.base).json() == before


def test_a_trigger_is_bounded_before_it_is_looked_at(butterbase: Butterbase) -> None:
    cron = {"type": "cron", "config": {"schedule": ",".join(["1"] * 1_000_000) + " * * * *"}}
    for triggers, says in (([cron], "too large"), ([{"type": "http"}] * 10_000, "only one trigger of each type")):
        reply = butterbase.client.post(butterbase.base, json={"name": "one", "code": OK, "triggers": triggers})
        assert (reply.status_code, says in reply.text, len(reply.content) < 2_000) == (400, True, True)
    assert butterbase.client.get(butterbase.base).json()["functions"] == []


def test_a_deploy_that_fails_puts_large_triggers_of_an_earlier_release_back(
    server: Server, butterbase: Butterbase
) -> None:
    made = butterbase.deploy("one", OK, auth=None, triggers=[{"type": "s3_upload"}])
    config = {"a": "x" * 70_000}
    stored = json.dumps([{"type": "s3_upload", "config": config, "enabled": True}])
    with contextlib.closing(sqlite3.connect(server.data_dir / "isolet.db", timeout=10)) as database, database:
        database.execute("UPDATE functions SET triggers = ? WHERE id = ?", [stored, made["id"]])
    reply = butterbase.client.post(
        butterbase.base, json={"name": "one", "code": "throw new Error('broken')", "trigger": {"type": "http"}}
    )
    assert reply.status_code == 400
    assert butterbase.get("one")["triggers"][0]["config"] == config


def test_settings_of_the_native_api(home: Project, root: httpx.Client) -> None:
    kapso = Kapso(home.client)
    path = f"/isolet/v1/functions/{kapso.deployed(CODE)}"
    before = home.client.get(path).json()
    for retry, says in (
        ({"statuses": [500] * 20_000}, "retry is too large"),
        ({"statuses": nested(100)}, "retry is nested too deeply"),
        ({"x" * 70_000: 1}, "retry is too large"),
    ):
        reply = home.client.patch(path, json={"retry": retry})
        assert (reply.status_code, says in reply.text) == (422, True), reply.text[:300]
    assert home.client.get(path).json() == before
    repeated = home.client.patch(path, json={"retry": {"statuses": [503, 500, 503]}})
    assert repeated.json()["retry"]["statuses"] == [503, 500]

    keys = {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "note": "x" * 70_000}]}
    reply = home.client.put(f"/isolet/v1/projects/{home.slug}/auth", json={"jwks": keys})
    assert (reply.status_code, "jwks is too large" in reply.text) == (422, True)
    origins = [f"https://{uuid.uuid4().hex}.example.com" for _ in range(2_000)]
    reply = root.patch(f"/isolet/v1/projects/{home.slug}", json={"allowed_origins": origins})
    assert (reply.status_code, "allowed_origins is too large" in reply.text) == (422, True)
    assert root.get(f"/isolet/v1/projects/{home.slug}").json()["allowed_origins"] == ["*"]


def test_what_is_as_large_as_it_may_be_is_kept(project: httpx.Client) -> None:
    config = {"a": "x" * (65_536 - len(json.dumps({"a": ""}, separators=(",", ":"))))}
    made = {"name": "one", "code": CODE, "runtime_config": config}
    function = project.post("/platform/v1/functions", json={"function": made})
    assert function.status_code == 201, function.text[:300]
    assert function.json()["data"]["runtime_config"] == config

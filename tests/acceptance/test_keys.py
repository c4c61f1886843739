"""Keys that expire, when keys were last used, and what their roles may change of a project."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.kapso import Kapso
from tests.support.projects import Project
from tests.support.server import Server
from tests.support.waiting import wait_until

V1 = "/isolet/v1"
HELLO = 'export default { fetch: () => new Response("hello") }'


def made(home: Project, **values: object) -> dict[str, Any]:
    reply = home.client.post(f"{V1}/projects/{home.slug}/keys", json={"name": "k", "role": "invoke", **values})
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


def shown(home: Project, key_id: str) -> dict[str, Any]:
    listed = home.client.get(f"{V1}/projects/{home.slug}/keys").json()["data"]
    return next(key for key in listed if key["id"] == key_id)


def test_an_expired_key_is_refused_through_every_door(server: Server, home: Project, anonymous: httpx.Client) -> None:
    function_id = Kapso(home.client).deployed(HELLO, slug="late")
    soon = datetime.now(UTC) + timedelta(seconds=1)
    key = made(home, role="admin", expires_at=soon.isoformat())
    assert datetime.fromisoformat(key["expires_at"]) == soon.replace(microsecond=soon.microsecond // 1000 * 1000)

    def refused() -> bool:
        return anonymous.get(f"{V1}/functions", headers={"X-API-Key": key["key"]}).status_code == 401

    wait_until(refused, what="the end of the key")
    assert datetime.now(UTC) >= soon
    bearer = {"Authorization": f"Bearer {key['key']}"}
    with server.client(key["key"]) as client:
        assert client.post(f"/api/v1/functions/{function_id}/invoke", json={}).status_code == 401
        assert client.post(f"/v1/{home.slug}/fn/late", json={}, headers=bearer).status_code == 401
        assert client.post(f"/spaces/{home.slug}/functions/late/invoke", json={}).status_code == 401
        assert client.get(f"/f/{home.slug}/late").status_code == 401
        assert client.get(f"{V1}/projects/{home.slug}/keys").status_code == 401
    assert shown(home, key["id"])["expires_at"] == key["expires_at"]


def test_a_key_with_a_late_end_works(home: Project, anonymous: httpx.Client) -> None:
    key = made(home, role="read", expires_at="9999-12-31T23:59:59Z")
    assert anonymous.get(f"{V1}/functions", headers={"X-API-Key": key["key"]}).status_code == 200
    assert made(home, expires_at=None)["expires_at"] is None


@pytest.mark.parametrize(
    "expires_at", ["2020-01-01T00:00:00Z", "soon", "", "9" * 5000, "10000-01-01", 5, ["2090-01-01"], "2090-01-01\0"]
)
def test_an_end_that_is_none_makes_no_key(home: Project, expires_at: object) -> None:
    keys = f"{V1}/projects/{home.slug}/keys"
    before = home.client.get(keys, params={"limit": 500}).json()["data"]
    body = {"name": "k", "role": "read", "expires_at": expires_at}
    refused = home.client.post(keys, json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_input")
    assert "expires_at" in refused.json()["error"]["message"]
    after = home.client.get(keys, params={"limit": 500}).json()["data"]
    assert [key["id"] for key in after] == [key["id"] for key in before]


def test_the_last_use_of_a_key_is_shown(home: Project, anonymous: httpx.Client) -> None:
    function_id = Kapso(home.client).deployed(HELLO)
    key, other = made(home), made(home)
    assert (key["last_used_at"], other["last_used_at"]) == (None, None)
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert Kapso(anonymous).invoke(function_id, {}, headers={"X-API-Key": key["key"]}).status_code == 200
    used = shown(home, key["id"])["last_used_at"]
    assert before <= datetime.fromisoformat(used) <= datetime.now(UTC)
    assert shown(home, other["id"])["last_used_at"] is None


def test_a_reader_looks_and_changes_nothing(home: Project, server: Server) -> None:
    """What the table of rows does not have: calls through every door, and the record of one."""
    function_id = Kapso(home.client).deployed(HELLO, slug="seen")
    invocation_id = Kapso(home.client).invoke(function_id, {}).headers["x-invocation-id"]
    record = f"{V1}/invocations/{invocation_id}"
    wait_until(lambda: home.client.get(record).status_code == 200, what="the record")
    with server.client(made(home, role="read")["key"]) as reader:
        assert reader.get(record).json()["id"] == invocation_id
        calls = [
            reader.post(f"/platform/v1/functions/{function_id}/invoke", json={}),
            reader.post(f"/api/v1/functions/{function_id}/invoke", json={}),
            reader.post(f"/v1/{home.slug}/fn/seen", json={}),
            reader.post(f"/spaces/{home.slug}/functions/seen/invoke", json={}),
            reader.post(f"/spaces/{home.slug}/functions/seen/async-invoke", json={}),
            reader.get(f"/f/{home.slug}/seen/deep"),
            reader.post(f"{V1}/invocations/{invocation_id}/replay"),
        ]
        assert [reply.status_code for reply in calls] == [403] * len(calls)


def test_an_admin_key_changes_the_settings_of_its_project_but_not_the_operators(
    home: Project, root: httpx.Client
) -> None:
    address = f"{V1}/projects/{home.slug}"
    changes = {"name": "Shop", "allowed_origins": ["https://shop.example"], "egress_allow": []}
    changed = home.client.patch(address, json=changes)
    assert (changed.status_code, {name: changed.json()[name] for name in changes}) == (200, changes)
    for taken in ({"plan": "free"}, {"limits": {"functions": 9}}, {"limits": {}}):
        refused = home.client.patch(address, json={"name": "Other", **taken})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    assert root.get(address).json() == changed.json()
    assert home.client.patch("/isolet/v1/projects/default", json={"name": "x"}).status_code == 404


@pytest.mark.parametrize("networks", [["10.0.0.0/8"], ["example.com"], "10.0.0.0/8", [None], ["10.0.0.0/8\0"]])
def test_networks_that_the_operator_does_not_allow_change_nothing(home: Project, networks: object) -> None:
    address = f"{V1}/projects/{home.slug}"
    before = home.client.get(address).json()
    refused = home.client.patch(address, json={"name": "Other", "egress_allow": networks})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_input")
    assert "egress_allow" in refused.json()["error"]["message"]
    assert home.client.get(address).json() == before


def test_a_project_has_no_more_keys_than_it_may(home: Project, root: httpx.Client) -> None:
    assert root.patch(f"{V1}/projects/{home.slug}", json={"limits": {"keys": 3}}).status_code == 200
    created = [
        home.client.post(f"{V1}/projects/{home.slug}/keys", json={"name": "k", "role": "invoke"}) for _ in range(4)
    ]
    assert created[0].status_code == 201
    assert (created[-1].status_code, created[-1].json()["error"]["code"]) == (422, "limit_reached")
    listed = home.client.get(f"{V1}/projects/{home.slug}/keys").json()["data"]
    assert len(listed) == 3

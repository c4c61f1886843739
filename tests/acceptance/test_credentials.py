"""No credential of the platform reaches a function or a record, whichever door, header or form it comes in."""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing

import httpx
import pytest

from tests.support.altair import Altair
from tests.support.butterbase import SharedButterbase
from tests.support.every_door import DOORS, Doors, behind_all_doors
from tests.support.projects import Project
from tests.support.server import ROOT_KEY, Server
from tests.support.waiting import wait_until

SHOW = """export default { async fetch(request, env, ctx) {
  const told = ctx?.request?.id ?? env?.request?.id;
  return Response.json({ headers: Object.fromEntries(request.headers), url: request.url, told });
} }"""
END_USER = "Bearer an-end-users-token"


@pytest.fixture(scope="module")
def doors(shared: SharedButterbase) -> Doors:
    return behind_all_doors(shared, SHOW)


@pytest.fixture(scope="module")
def ours(shared: SharedButterbase) -> list[str]:
    """A key of the project, the root key, a token, and one that stands for nothing any more."""
    made = shared.client.post(f"/isolet/v1/projects/{shared.app}/keys", json={"name": "t", "role": "invoke"}).json()
    form = {"grant_type": "client_credentials", "client_id": made["id"], "client_secret": made["key"]}
    token = shared.public.post("/oauth2/token", data=form).json()["access_token"]
    revoked = shared.public.post("/oauth2/token", data=form).json()["access_token"]
    shared.public.post("/oauth2/revoke", data={"token": revoked})
    return [made["key"], ROOT_KEY, token, revoked]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("door", DOORS)
def test_no_credential_of_ours_reaches_a_function(doors: Doors, ours: list[str], door: str) -> None:
    for key in ours:
        for name, value in (
            ("Authorization", key),
            ("Authorization", f"Bearer {key}"),
            ("Authorization", f"Token {key}"),
            ("Authorization", basic(key, "")),
            ("Authorization", basic("user", key)),
            ("X-Forwarded-Authorization", f"bearer {key}"),
            ("X-Anything", f"a={key}"),
            ("X-Request-Id", key),
            ("Sec-WebSocket-Protocol", f"token.{key}"),
            ("Cookie", f"a=1; session={key}; isolet_session=x; b=2"),
        ):
            reply = doors.call(door, headers={name: value}, params={"token": key, "risk_level": "1"}, json={})
            assert reply.status_code == 200, (name, value, reply.text)
            assert key not in reply.text, (name, value)
            seen = reply.json()["headers"]
            assert name == "Cookie" or name.lower() not in seen
            assert seen.get("cookie") in ("a=1; b=2", None)
            if door != "butterbase test call":
                assert reply.json()["url"].endswith("?risk_level=1")


def test_nor_by_the_id_of_a_request_at_its_public_address(
    doors: Doors, ours: list[str], shared: SharedButterbase
) -> None:
    shared.client.patch(f"/isolet/v1/functions/{doors.function_id}", json={"access": "public"})
    for key in ours:
        reply = doors.public.post(f"/f/{doors.app}/{doors.name}", headers={"X-Request-Id": key}, json={})
        assert reply.status_code == 200, reply.text
        assert key not in reply.text
        assert reply.json()["told"]


@pytest.mark.parametrize("door", [door for door in DOORS if door != "butterbase test call"])
def test_what_is_not_ours_reaches_it(doors: Doors, door: str) -> None:
    headers = {"Authorization": END_USER, "X-Own": "list_items, risk_level", "Cookie": "a=1"}
    seen = doors.call(door, headers=headers, json={}).json()["headers"]
    assert {name: seen[name.lower()] for name in headers} == headers


def test_neither_an_asynchronous_call_nor_a_replay_has_one(
    doors: Doors, ours: list[str], shared: SharedButterbase, server: Server
) -> None:
    client, altair = shared.client, Altair(shared.client, shared.app)

    def record(call_id: str) -> str:
        found = wait_until(lambda: _recorded(client, call_id), timeout_s=30, what=f"the record of {call_id}")
        assert found is not None
        return found

    for key in ours:
        spelled = (key, basic("u", key).split()[1])
        headers = {"authorization": basic("u", key), "x_any": f"k {key}"}
        queued = altair.start("behind", b"{}", extra=f"?token={key}", **headers)
        direct = doors.call("kapso", headers={"X-Any": basic("u", key)}, json={}).headers["x-invocation-id"]
        record(direct)
        again = client.post(f"/isolet/v1/invocations/{direct}/replay").json()["id"]
        for call_id in (queued, direct, again):
            assert [text for text in spelled if text in record(call_id)] == []
    with closing(sqlite3.connect(f"file:{server.data_dir / 'isolet.db'}?mode=ro", uri=True)) as stored:
        rows = [str(row) for table in ("jobs", "invocations") for row in stored.execute(f"SELECT * FROM {table}")]  # noqa: S608
    assert [key for key in ours for row in rows if key in row] == []


def _recorded(client: httpx.Client, call_id: str) -> str | None:
    reply = client.get(f"/isolet/v1/invocations/{call_id}")
    return reply.text if reply.status_code == 200 and reply.json()["status"] in ("succeeded", "failed") else None


@pytest.mark.parametrize("path", ["/isolet/v1/functions", "/v1/{app}/functions", "/spaces/{app}/functions"])
def test_a_bad_credential_beside_a_good_one_changes_nothing(home: Project, anonymous: httpx.Client, path: str) -> None:
    good = home.key("deploy")
    for headers in (
        {"X-API-Key": "junk", "Authorization": f"Bearer {good}"},
        {"X-API-Key": good, "Authorization": "Bearer junk"},
    ):
        assert anonymous.get(path.format(app=home.slug), headers=headers).status_code == 200
    assert anonymous.get(path.format(app=home.slug), headers={"X-API-Key": "junk"}).status_code == 401

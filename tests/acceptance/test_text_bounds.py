"""How many secrets, variables and log streams there may be, through every door that takes them."""

from __future__ import annotations

import base64
from contextlib import ExitStack

import httpx
import pytest

from tests.support.butterbase import Butterbase
from tests.support.kapso import Kapso
from tests.support.waiting import wait_until

HELLO = "async function handler() { return new Response('ok'); }"


def put_secret(kapso: Kapso, function_id: str, name: str, value: object) -> httpx.Response:
    body = {"secret": {"name": name, "value": value}}
    return kapso.client.post(f"{kapso.base}/functions/{function_id}/secrets", json=body)


def test_a_function_has_a_hundred_secrets(kapso: Kapso) -> None:
    function_id = kapso.deployed(HELLO)
    for number in range(100):
        assert put_secret(kapso, function_id, f"S{number}", "value").status_code == 201, number
    reply = put_secret(kapso, function_id, "ONE_MORE", "value")
    assert (reply.status_code, "may have 100 secrets" in reply.text) == (422, True)
    assert kapso.client.delete(f"{kapso.base}/functions/{function_id}/secrets/S7").status_code < 300
    assert put_secret(kapso, function_id, "ONE_MORE", "value").status_code == 201
    assert kapso.invoke(function_id).text == "ok"


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (["v"] * 900, {"a": ["v"] * 101}, "1000 values"),
        (["v"] * 1_001, None, "1000 values"),
        ("x" * 60_000, ["y" * 1], None),
    ],
)
def test_strings_in_json_count(kapso: Kapso, first: object, second: object, says: str | None) -> None:
    function_id = kapso.deployed(HELLO)
    replies = [put_secret(kapso, function_id, "A", first)]
    if second is not None:
        assert replies[0].status_code == 201
        replies.append(put_secret(kapso, function_id, "B", second))
    assert replies[-1].status_code == (422 if says else 201)
    assert says is None or says in replies[-1].text


def test_secrets_are_bounded_in_bytes_together(kapso: Kapso) -> None:
    function_id = kapso.deployed(HELLO)
    for name in "ABCD":
        assert put_secret(kapso, function_id, name, "x" * 65_000).status_code == 201
    reply = put_secret(kapso, function_id, "E", "x" * 65_000)
    assert (reply.status_code, "262144 bytes" in reply.text) == (422, True)


MANY = {f"V{number}": "value of it" for number in range(1_001)}
LARGE = {f"V{number}": "x" * 30_000 for number in range(9)}


@pytest.mark.parametrize(("variables", "says"), [(MANY, "1000 variables"), (LARGE, "262144 bytes")])
def test_variables_are_bounded_through_every_door(butterbase: Butterbase, variables: dict[str, str], says: str) -> None:
    reply = butterbase.post("vars", "export default () => new Response('ok')", envVars=variables)
    assert (reply.status_code, says in reply.text) == (400, True)
    butterbase.deploy("vars", "export default () => new Response('ok')")
    for path in (f"{butterbase.base}/vars/env", f"/v1/{butterbase.app}/env"):
        reply = butterbase.client.patch(path, json={"envVars": variables})
        assert (reply.status_code, says in reply.text) == (400, True), path
    function = {"name": "vars-too", "source": {"code": base64.b64encode(HELLO.encode()).decode()}, "env": variables}
    reply = butterbase.client.post(f"/spaces/{butterbase.app}/functions", json=function)
    assert (reply.status_code, says in reply.text) == (422, True)


@pytest.mark.parametrize("door", ["native", "butterbase"])
def test_log_streams_of_a_project_are_bounded(butterbase: Butterbase, root: httpx.Client, door: str) -> None:
    limits = {"limits": {"log_streams": 2}}
    assert root.patch(f"/isolet/v1/projects/{butterbase.app}", json=limits).status_code == 200
    butterbase.deploy("logged", "export default () => new Response('ok')")
    path = "/isolet/v1/logs/stream" if door == "native" else f"{butterbase.base}/logged/logs/stream"
    with ExitStack() as stack:
        for _ in range(2):
            reply = stack.enter_context(butterbase.client.stream("GET", path))
            assert reply.status_code == 200
        refused = butterbase.client.get(path)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        assert "2 log streams" in refused.text

    def opens() -> bool:
        with butterbase.client.stream("GET", path) as reply:
            return reply.status_code == 200

    assert wait_until(opens, what="a place that is free again")


def test_the_code_of_a_project_is_bounded_and_old_versions_make_room(
    butterbase: Butterbase, root: httpx.Client
) -> None:
    kapso = Kapso(butterbase.client)
    code = f"export default {{ fetch: () => new Response({'x' * 200_000!r}) }}"
    one, limits = kapso.deployed(code, "one"), f"/isolet/v1/projects/{butterbase.app}"
    kapso.deploy(one)
    assert root.patch(limits, json={"limits": {"code_mb": 1}}).status_code == 200

    assert kapso.deploy(one)["status"] == "deployed"
    versions = butterbase.client.get(f"/isolet/v1/functions/{one}/versions").json()["data"]
    assert [one["version"] for one in versions] == [3, 2], "one of 400 kB made room"
    refused = butterbase.client.post("/platform/v1/functions", json={"function": {"name": "two", "code": code}})
    assert (refused.status_code, "(code_mb)" in refused.text) == (422, True)
    assert root.patch(limits, json={"limits": {"code_mb": None}}).status_code == 200
    assert kapso.create(code, "two")["status"] == "draft"


def test_the_settings_of_a_project_are_bounded_through_every_door(butterbase: Butterbase, root: httpx.Client) -> None:
    kapso, client, limits = Kapso(butterbase.client), butterbase.client, f"/isolet/v1/projects/{butterbase.app}"
    assert root.patch(limits, json={"limits": {"settings_mb": 1}}).status_code == 200
    ids = {name: kapso.create(HELLO, name)["id"] for name in ("one", "two", "three", "four")}
    ids["five"] = kapso.deployed(HELLO, "five")
    quarter = {f"V{number}": "x" * 28_000 for number in range(9)}
    for name in ("one", "two", "three", "four"):
        assert client.patch(f"{butterbase.base}/{name}/env", json={"envVars": quarter}).status_code == 200
    # Now it has room for some thirty kilobytes.
    before = [client.get(f"/isolet/v1/functions/{ids[name]}").json() for name in ids]
    large, code = {"MORE": "x" * 60_000}, base64.b64encode(HELLO.encode()).decode()
    native = f"/isolet/v1/projects/{butterbase.app}/functions"
    refused = [
        client.patch(f"{butterbase.base}/five/env", json={"envVars": large}),
        butterbase.post("five", HELLO.replace("ok", "changed"), envVars=large),
        butterbase.post("six", HELLO, envVars=large),
        put_secret(kapso, ids["five"], "MORE", "x" * 60_000),
        client.patch(f"{kapso.base}/functions/{ids['five']}", json={"function": {"runtime_config": large}}),
        client.put(f"{native}/five", json={"code": HELLO.replace("ok", "changed"), "variables": large}),
        client.put(f"{native}/six", json={"code": HELLO, "variables": large}),
        client.post(
            f"/spaces/{butterbase.app}/functions", json={"name": "six", "source": {"code": code}, "env": large}
        ),
        client.post(
            f"/isolet/v1/functions/{ids['five']}/schedules", json={"cron": "0 0 1 1 *", "payload": "x" * 60_000}
        ),
    ]
    assert [(reply.status_code, "(settings_mb)" in reply.text) for reply in refused] == [(422, True)] * len(refused)
    assert [client.get(f"/isolet/v1/functions/{ids[name]}").json() for name in ids] == before
    assert {one["slug"] for one in client.get("/isolet/v1/functions").json()["data"]} == set(ids)

    assert client.delete(f"{kapso.base}/functions/{ids['one']}").status_code < 300
    assert client.patch(f"{butterbase.base}/five/env", json={"envVars": large}).status_code == 200
    assert put_secret(kapso, ids["five"], "MORE", "x" * 60_000).status_code == 201
    payloads = [{"cron": "0 0 1 1 *", "payload": "x" * 60_000} for _ in range(3)]
    made = [client.post(f"/isolet/v1/functions/{ids['five']}/schedules", json=payload) for payload in payloads]
    assert [reply.status_code for reply in made] == [201, 201, 422]

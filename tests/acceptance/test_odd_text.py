"""Text that JSON can write and UTF-8, a database or strict JSON cannot."""

import base64

import pytest

from tests.support.butterbase import Butterbase
from tests.support.kapso import Kapso

JSON = {"Content-Type": "application/json"}


def test_lone_surrogates_in_settings_come_back(kapso: Kapso) -> None:
    body = rb'{"function": {"name": "Odd", "code": "handler", "runtime_config": {"note": "a\ud800b"}}}'
    made = kapso.client.post("/platform/v1/functions", content=body, headers=JSON)
    assert made.status_code == 201, made.text
    assert made.json()["data"]["runtime_config"] == {"note": "a\ud800b"}
    assert kapso.get(made.json()["data"]["id"])["runtime_config"] == {"note": "a\ud800b"}


@pytest.mark.parametrize(
    ("reply", "shown"), [("NaN", "NaN"), ("[1e999]", "[1e999]"), (r'"a\\ud800b"', "a\ud800b"), ("[1.5]", [1.5])]
)
def test_a_recorded_reply_is_shown_whatever_it_is(kapso: Kapso, reply: str, shown: object) -> None:
    function_id = kapso.deployed(f"async function handler() {{ return new Response('{reply}'); }}")
    assert kapso.invoke(function_id).status_code == 200
    assert [item["response_body"] for item in kapso.invocations(function_id)] == [shown]


def test_a_recorded_reply_of_any_depth_is_shown(kapso: Kapso) -> None:
    """Python reads JSON some levels deeper than it writes it: then it is shown as text."""
    nest = "const n = (await request.json()).n; return new Response('['.repeat(n) + ']'.repeat(n));"
    function_id = kapso.deployed(f"async function handler(request) {{ {nest} }}")
    for depth in range(978, 992):
        assert kapso.invoke(function_id, {"n": depth}).status_code == 200
        (item,) = kapso.invocations(function_id, limit=1)
        shown = item["response_body"]
        assert shown == "[" * depth + "]" * depth
    assert kapso.invoke(function_id, {"n": 50}).status_code == 200
    assert str(kapso.invocations(function_id, limit=1)[0]["response_body"]) == "[" * 50 + "]" * 50


def test_lone_surrogates_in_an_error_and_a_line_are_recorded(kapso: Kapso) -> None:
    code = r"async function handler() { console.log('a\ud800'); throw new Error('b\ud800'); }"
    function_id = kapso.deployed(code)
    assert kapso.invoke(function_id).status_code == 500
    (item,) = kapso.invocations(function_id)
    assert item["error_message"] == "Error: b\ufffd"
    assert [line["message"] for line in item["console_logs"]] == ["a\ufffd"]


HALF = r"a\ud800b"


def test_text_that_nothing_can_store_is_refused_in_the_dialect_of_its_door(
    kapso: Kapso, butterbase: Butterbase
) -> None:
    function_id = kapso.deployed("export default { scheduled() {}, fetch: () => new Response() }")
    made = kapso.client.post(f"/isolet/v1/functions/{function_id}/schedules", json={"cron": "@daily"})
    pause = f"/isolet/v1/schedules/{made.json()['id']}/pause"
    native = kapso.client.post(pause, content=f'{{"reason": "{HALF}"}}', headers=JSON)
    assert (native.status_code, native.json()["error"]["code"]) == (422, "invalid_input")
    code = f'{{"name": "odd", "code": "export default () => new Response(\'{HALF}\')"}}'
    deployed = butterbase.client.post(butterbase.base, content=code, headers=JSON)
    assert (deployed.status_code, deployed.json()["error"]["code"]) == (400, "VALIDATION_INVALID_SCHEMA")


@pytest.mark.parametrize(("action", "options"), [("query", {"json": {"sql": "x" * 90_000}}), ("import", {})])
def test_an_error_of_sql_may_quote_a_whole_statement(kapso: Kapso, action: str, options: dict[str, object]) -> None:
    (project,) = kapso.client.get("/isolet/v1/projects").json()["data"]
    sent = options or {"content": "x" * 90_000, "headers": {"Content-Type": "application/sql"}}
    reply = kapso.client.post(f"/isolet/v1/projects/{project['slug']}/database/{action}", **sent)  # type: ignore[arg-type]
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "invalid_input")
    assert "xxx" in reply.json()["error"]["message"]
    assert len(reply.json()["error"]["message"]) < 3_000


@pytest.mark.parametrize("env", [rf'{{"A": "{HALF}"}}', rf'{{"{HALF}": "A"}}', r'{"A": "a\u0000"}', '{"": "A"}'])
def test_variables_that_no_process_can_be_given_are_refused_at_altairs_door(butterbase: Butterbase, env: str) -> None:
    code = base64.b64encode(b"export default () => new Response()").decode()
    body = f'{{"name": "odd", "source": {{"code": "{code}"}}, "env": {env}}}'
    reply = butterbase.client.post(f"/spaces/{butterbase.app}/functions", content=body, headers=JSON)
    assert (reply.status_code, reply.json()["error"]["status"]) == (422, 422)
    assert "env" in reply.json()["error"]["message"]

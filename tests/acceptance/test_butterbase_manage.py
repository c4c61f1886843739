"""Management of functions through the Butterbase API."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.butterbase import Butterbase, SharedButterbase
from tests.support.server import Server

OK = "export default async function handler(req, ctx) { return new Response('ok'); }"
ENV = "export async function handler(req, ctx) { return Response.json(ctx.env); }"


def _error(reply: httpx.Response, status: int, code: str) -> dict[str, Any]:
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (status, code), reply.text
    return dict(error)


def test_129_management_without_a_key_is_401(shared: SharedButterbase) -> None:
    _error(shared.public.get(shared.base), 401, "AUTH_REQUIRED")
    _error(shared.public.get("/v1/no-such-app/functions"), 401, "AUTH_REQUIRED")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Authorization": "Bearer bb_sk_" + "0" * 40}, "AUTH_INVALID_API_KEY"),
        ({"X-API-Key": "nobody"}, "AUTH_INVALID_API_KEY"),
        ({"Authorization": "Bearer eyJ.eyJ.sig"}, "AUTH_INVALID_TOKEN"),
    ],
)
def test_130_bad_credentials_are_told_by_their_kind(
    shared: SharedButterbase, headers: dict[str, str], code: str
) -> None:
    _error(shared.public.get(shared.base, headers=headers), 401, code)


def test_131_132_errors_say_how_to_go_on(shared: SharedButterbase) -> None:
    error = _error(shared.client.get(f"{shared.base}/nobody"), 404, "RESOURCE_NOT_FOUND")

    assert error["message"] == "Function not found"
    assert len(error["remediation"]) > 10
    assert error["documentation_url"].endswith("#resource-not-found")


def test_133_the_app_of_another_looks_like_none(shared: SharedButterbase) -> None:
    foreign = _error(shared.client.get("/v1/default/functions"), 404, "RESOURCE_NOT_FOUND")

    assert foreign == _error(shared.client.get("/v1/no-such-app/functions"), 404, "RESOURCE_NOT_FOUND")


def test_135_deploy_answers_once_the_version_is_live(shared: SharedButterbase) -> None:
    deployed = shared.deploy("Hello", OK)

    assert list(deployed)[:5] == ["id", "name", "url", "triggers", "deployedAt"]
    assert deployed["triggers"] == [{"type": "http", "enabled": True}]
    assert deployed["cacheInvalidation"] == {"success": True, "attempts": 1}
    assert shared.public.get(deployed["url"]).text == "ok"


@pytest.mark.parametrize(
    "values",
    [
        {"name": ""},
        {"name": "n" * 101},
        {"name": 5},
        {"code": ""},
        {"code": "const x = 1;"},
        {"code": "import './other.js'; export default () => new Response('');"},
        {"timeoutMs": 86_400_001},
        {"timeoutMs": 0},
        {"memoryLimitMb": 63},
        {"memoryLimitMb": 1025},
        {"triggers": []},
        {"triggers": [{"type": "http"}, {"type": "http"}]},
        {"triggers": [{"type": "smoke"}]},
        {"triggers": [{"type": "http", "config": {"auth": "weird"}}]},
        {"triggers": [{"type": "cron", "config": {"schedule": "not a cron"}}]},
        {"agent_tool_description": "d" * 501},
        {"envVars": {"A": 1}},
        {"envVars": {"butterbase_x": "1"}},
    ],
)
def test_136_148_what_breaks_a_rule_is_400_and_leaves_nothing(shared: SharedButterbase, values: dict[str, Any]) -> None:
    before = shared.client.get(shared.base).json()

    reply = shared.client.post(shared.base, json={"name": "odd", "code": OK, **values})

    assert _error(reply, 400, "VALIDATION_INVALID_SCHEMA")["message"]
    assert shared.client.get(shared.base).json() == before


def test_137_code_that_does_not_build_is_told_with_its_place(shared: SharedButterbase) -> None:
    shared.deploy("steady", OK)

    error = _error(shared.post("steady", "export default () => {\n  return ]\n}"), 400, "VALIDATION_INVALID_SCHEMA")

    assert (error["details"]["line"], error["details"]["column"]) == (2, 10)
    assert error["message"].endswith(" (line 2, column 10)")
    assert shared.call("steady").text == "ok"


def test_a_module_that_does_not_load_changes_nothing(butterbase: Butterbase) -> None:
    butterbase.deploy("steady", OK, envVars={"A": "1"}, timeoutMs=61_234)

    code = "throw new Error('at load'); export default () => 1;"
    reply = butterbase.post("steady", code, envVars={}, timeoutMs=59_999)

    assert "at load" in _error(reply, 400, "VALIDATION_INVALID_SCHEMA")["message"]
    shown = butterbase.get("steady")
    assert (shown["code"], shown["timeoutMs"], shown["envKeys"]) == (OK, 61_234, ["A"])
    assert butterbase.call("steady").text == "ok"


def test_139_the_same_name_updates_in_place(butterbase: Butterbase) -> None:
    first = butterbase.deploy("one", OK)

    second = butterbase.deploy("one", OK.replace("ok", "new"))

    assert (second["id"], first["version"], second["version"]) == (first["id"], 1, 2)
    assert butterbase.call("one").text == "new"


def test_140_the_environment_is_kept_or_replaced_whole(butterbase: Butterbase) -> None:
    butterbase.deploy("env", ENV, envVars={"A": "1", "b c": "2"})
    butterbase.deploy("env", ENV)
    assert butterbase.get("env")["envKeys"] == ["A", "b c"]

    butterbase.deploy("env", ENV, envVars={"C": "3"})

    assert butterbase.get("env")["envKeys"] == ["C"]
    assert butterbase.call("env").json()["C"] == "3"


def test_141_142_what_a_deploy_leaves_out_stays(butterbase: Butterbase) -> None:
    cron = {"type": "cron", "config": {"schedule": "*/5 * * * *"}}
    butterbase.deploy("kept", OK, auth=None, triggers=[cron], description="d", timeoutMs=5000, agent_tool=True)

    butterbase.deploy("kept", OK, auth=None)

    shown = butterbase.get("kept")
    assert (shown["description"], shown["timeoutMs"], shown["agent_tool"]) == ("d", 5000, True)
    assert shown["triggers"] == [{**cron, "enabled": True}]


def test_143_144_one_trigger_is_a_list_and_needs_a_user_by_default(shared: SharedButterbase) -> None:
    shared.deploy("single", OK, auth=None, trigger={"type": "http", "config": {}})
    shared.deploy("open", OK, auth="optional")

    required = {"type": "http", "config": {"auth": "required"}, "enabled": True}
    assert shared.get("single")["triggers"] == [required]
    assert shared.get("open")["triggers"] == [{**required, "config": {"auth": "optional"}}]


def test_146_191_without_an_http_trigger_there_is_no_url(shared: SharedButterbase) -> None:
    cron = shared.deploy("tick", OK, auth=None, trigger={"type": "cron", "config": {"schedule": "0 0 * * *"}})
    shared.deploy("off", OK, auth=None, triggers=[{"type": "http", "enabled": False, "config": {"auth": "none"}}])

    assert cron["url"] is None
    for name in ("tick", "off"):
        called = shared.call(name)
        assert (called.status_code, called.json()) == (404, {"error": "Function not found"})


def test_149_155_a_deleted_name_is_gone_and_comes_back(butterbase: Butterbase) -> None:
    first = butterbase.deploy("phoenix", OK)
    butterbase.call("phoenix")
    for _ in range(2):
        reply = butterbase.client.delete(f"{butterbase.base}/phoenix")
        assert (reply.status_code, reply.json()) == (200, {"success": True})
    _error(butterbase.client.get(f"{butterbase.base}/phoenix"), 404, "RESOURCE_NOT_FOUND")
    assert butterbase.call("phoenix").status_code == 404
    assert len(butterbase.logs("phoenix", include_deleted="true")) == 1

    again = butterbase.deploy("phoenix", OK)

    assert again["id"] == first["id"]
    assert butterbase.call("phoenix").text == "ok"
    assert butterbase.get("phoenix")["invocationCount"] == 2


def test_a_name_that_never_was_cannot_be_deleted(butterbase: Butterbase) -> None:
    _error(butterbase.client.delete(f"{butterbase.base}/nobody"), 404, "RESOURCE_NOT_FOUND")


def test_150_151_the_list_is_by_name_and_says_who_fails(butterbase: Butterbase) -> None:
    butterbase.deploy("b", "export default () => new Response('', { status: 500 })")
    butterbase.deploy("a", OK)
    butterbase.call("b")

    first, second = butterbase.client.get(butterbase.base).json()["functions"]

    assert [first["name"], second["name"]] == ["a", "b"]
    assert [first["status"], second["status"]] == ["active", "error"]
    assert (second["errorRate"], second["lastStatus"], second["invocationCount"]) == (1, 500, 1)
    assert "code" not in first


def test_152_153_details_tell_no_values(shared: SharedButterbase) -> None:
    hook = {"type": "webhook", "config": {"provider": "github", "secret": "hush-hush"}}
    shared.deploy("quiet", OK, auth=None, triggers=[hook], envVars={"TOKEN": "value-of-token"})

    reply = shared.client.get(f"{shared.base}/quiet", headers={"Content-Type": "application/json"})

    assert reply.json()["envKeys"] == ["TOKEN"]
    assert reply.json()["triggers"][0]["config"] == {"provider": "github", "secret": "***"}
    assert "hush-hush" not in reply.text
    assert "value-of-token" not in reply.text


@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [
        ("GET", "", None),
        ("GET", "/logs", None),
        ("PATCH", "/env", {"A": "1"}),
        ("PATCH", "/settings", {"allow_service_key_impersonation": True}),
        ("POST", "/invoke", {}),
    ],
)
def test_154_an_unknown_name_is_404(shared: SharedButterbase, method: str, rest: str, body: Any) -> None:
    reply = shared.client.request(method, f"{shared.base}/nobody{rest}", json=body)

    _error(reply, 404, "RESOURCE_NOT_FOUND")


def test_156_157_160_161_variables_merge_and_the_next_call_sees_them(butterbase: Butterbase) -> None:
    butterbase.deploy("env", ENV, envVars={"A": "1", "B": "2"})

    body = {"envVars": {"B": None, "C": "3", "absent": None}}
    reply = butterbase.client.patch(f"{butterbase.base}/env/env", json=body).json()

    assert (reply["updatedKeys"], reply["function"]["name"]) == (["A", "C"], "env")
    seen = butterbase.call("env").json()
    assert (seen["A"], seen["C"], "B" in seen) == ("1", "3", False)


@pytest.mark.parametrize("body", [{}, [], {"envVars": {}}, {"envVars": []}, {"envVars": None}, {"A": 1}])
def test_158_what_is_no_set_of_variables_is_400(shared: SharedButterbase, body: Any) -> None:
    shared.deploy("env", ENV)

    _error(shared.client.patch(f"{shared.base}/env/env", json=body), 400, "VALIDATION_INVALID_SCHEMA")


def test_159_reserved_names_are_refused_and_nothing_else_is_applied(shared: SharedButterbase) -> None:
    shared.deploy("env", ENV)

    body = {"A": "1", "Butterbase_App_Id": "x"}
    error = _error(shared.client.patch(f"{shared.base}/env/env", json=body), 400, "VALIDATION_INVALID_SCHEMA")

    assert "Butterbase_App_Id" in error["message"]
    assert shared.get("env")["envKeys"] == []


def test_162_163_164_the_function_stands_above_the_app_and_the_platform_above_both(butterbase: Butterbase) -> None:
    butterbase.deploy("env", ENV, envVars={"BOTH": "function"})

    reply = butterbase.client.patch(f"/v1/{butterbase.app}/env", json={"envVars": {"BOTH": "app", "APP": "app"}}).json()

    assert (reply["updatedKeys"], reply["invalidated"]["functions"]) == (["BOTH", "APP"], ["env"])
    seen = butterbase.call("env").json()
    assert (seen["BOTH"], seen["APP"], seen["BUTTERBASE_APP_ID"]) == ("function", "app", butterbase.app)
    assert "BUTTERBASE_FRONTEND_URL" not in seen
    shown = butterbase.client.get(f"/v1/{butterbase.app}/env").json()
    assert sorted(shown) == ["keys", "updatedAt"]
    assert shown["keys"] == ["BOTH", "APP"]


def test_two_deploys_of_one_name_at_once_end_in_order_and_the_function_always_answers(butterbase: Butterbase) -> None:
    butterbase.deploy("race", OK.replace("ok", "v0"))
    with ThreadPoolExecutor(6) as pool:
        deploys = [pool.submit(butterbase.deploy, "race", OK.replace("ok", f"v{n}")) for n in range(1, 5)]
        seen = []
        while not all(deploy.done() for deploy in deploys):
            seen.append(butterbase.call("race"))
        versions = [deploy.result()["version"] for deploy in deploys]

    assert {reply.status_code for reply in seen} == {200}
    assert sorted(versions) == [2, 3, 4, 5]
    last = versions.index(5) + 1
    assert butterbase.call("race").text == f"v{last}"
    assert len(butterbase.client.get(butterbase.base).json()["functions"]) == 1


def test_what_a_deploy_leaves_out_stays_as_the_deploy_before_it_left_it(butterbase: Butterbase) -> None:
    """Also when that one was not done yet as this one was sent."""
    butterbase.deploy("tool", OK)
    with ThreadPoolExecutor(4) as pool:
        for round_ in range(4):
            description = f"round {round_}"
            first = pool.submit(butterbase.deploy, "tool", OK, auth=None, agent_tool_description=description)
            others = [pool.submit(butterbase.deploy, "tool", OK, auth=None) for _ in range(3)]
            for deploy in (first, *others):
                deploy.result()
            assert butterbase.get("tool")["agent_tool_description"] == description


@pytest.mark.parametrize(
    "trigger",
    [
        {"type": "webhook", "config": {"provider": "github", "secret": "s"}},
        {"type": "s3_upload", "config": {"bucket": "b"}},
    ],
    ids=lambda trigger: trigger["type"],
)
def test_a_trigger_that_never_fires_says_so(butterbase: Butterbase, trigger: dict[str, Any]) -> None:
    deployed = butterbase.deploy("tick", OK, auth=None, triggers=[{"type": "http"}, trigger])
    shown = butterbase.get("tick")
    (listed,) = butterbase.client.get(butterbase.base).json()["functions"]

    for reply in (deployed, shown, listed):
        assert {one["type"]: one["enabled"] for one in reply["triggers"]} == {"http": True, trigger["type"]: False}
        (warning,) = reply["warnings"]
        assert f"the {trigger['type']} trigger" in warning
        assert "never fires" in warning
    assert "warnings" not in butterbase.deploy("tick", OK, auth=None, triggers=[{"type": "http"}])


def test_two_first_deploys_of_one_name_make_one_function(butterbase: Butterbase) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda text: butterbase.deploy("new", OK.replace("ok", text)), ("a", "b"))

    assert first["id"] == second["id"]
    assert {first["version"], second["version"]} == {1, 2}


def test_an_app_is_found_by_its_id_too(shared: SharedButterbase) -> None:
    shared.deploy("here", OK)

    assert shared.public.get(f"/v1/{shared.project_id}/fn/here").text == "ok"


def test_odd_names_are_reachable(shared: SharedButterbase) -> None:
    shared.deploy("a b/../ü", OK)

    assert shared.call("a%20b%2F..%2F%C3%BC").text == "ok"
    shown = shared.client.get(f"{shared.base}/a%20b%2F..%2F%C3%BC")
    assert shown.json()["name"] == "a b/../ü"


def test_variables_and_functions_survive_a_restart(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as first, first.client() as client:
        client.post("/v1/default/functions", json={"name": "env", "code": ENV, "envVars": {"A": "kept"}})
    with Server(tmp_path / "data") as second, second.client() as client:
        assert client.get("/v1/default/fn/env").json()["A"] == "kept"


@pytest.mark.parametrize("path", ["", "/tool", "/tool/logs?limit=100"])
def test_a_content_type_without_a_body_is_no_reason_to_refuse(butterbase: Butterbase, path: str) -> None:
    """The published clients send it with every request."""
    butterbase.deploy("tool", OK)
    says = {"Content-Type": "application/json"}

    assert butterbase.client.get(butterbase.base + path, headers=says).status_code == 200
    assert butterbase.client.delete(f"{butterbase.base}/tool", headers=says).status_code == 200

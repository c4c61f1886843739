"""What the vendor's published scripts send and need, on the wire."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.kapso import Kapso
from tests.support.projects import Project
from tests.support.server import NO_CAS
from tests.support.waiting import wait_until

CODE = """async function handler(request, env) {
  const body = await request.json();
  console.log("called with", body);
  return new Response(JSON.stringify({ vars: { seen: body.input } }), {
    headers: { "Content-Type": "application/json" },
  });
}"""
CREATION = Kapso.body(name="Tool", code=CODE, description="A tool", public_endpoint=False)


class Script:
    """`content-type: application/json` on every request, and the whole reply as the result."""

    def __init__(self, home: Project) -> None:
        self._http = httpx.Client(
            base_url=home.server.url + "/platform/v1",
            headers={"X-API-Key": home.key(), "Content-Type": "application/json", "Accept": "application/json"},
            timeout=60,
            trust_env=False,
            verify=NO_CAS,
        )

    def __call__(self, method: str, path: str, text: str | None = None, *, status: int = 200) -> dict[str, Any]:
        reply = self._http.request(method, path, content=text)
        assert reply.status_code == status, reply.text
        return dict(reply.json()) if reply.content else {}

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def script(home: Project) -> Any:
    script = Script(home)
    yield script
    script.close()


def poll(script: Script, function_id: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        function = script("GET", f"/functions/{function_id}")["data"]
        return function if function["status"] in ("deployed", "error") else None

    return wait_until(ended, what="the deploy") or {}


@pytest.mark.parametrize("deploy_body", ["{}", None, ""], ids=["object", "none", "empty"])
def test_the_functions_scripts_work_from_creation_to_history(script: Script, deploy_body: str | None) -> None:
    made = script("POST", "/functions", CREATION, status=201)["data"]
    assert (made["status"], made["function_type"], made["public_endpoint"]) == ("draft", "cloudflare_worker", False)
    assert script("GET", "/functions")["data"] == [made]

    accepted = script("POST", f"/functions/{made['id']}/deploy", deploy_body, status=202)
    assert (accepted["function_id"], accepted["status"]) == (made["id"], "deploying")
    deployed = poll(script, made["id"])
    assert (deployed["status"], deployed["version"]) == ("deployed", 1)

    assert script("POST", f"/functions/{made['id']}/invoke", '{"input": {"a": 1}}') == {"vars": {"seen": {"a": 1}}}

    history = script("GET", f"/functions/{made['id']}/invocations?status=success&limit=5")["data"]
    assert (history["total"], history["function_name"]) == (1, "Tool")
    (item,) = history["invocations"]
    assert (item["status_code"], item["request_body"]) == (200, {"input": {"a": 1}})
    assert item["response_body"] == {"vars": {"seen": {"a": 1}}}
    assert item["console_logs"][0]["message"] == 'called with {"input":{"a":1}}'


def test_the_update_script_sends_name_and_code_and_reads_the_function(script: Script) -> None:
    made = script("POST", "/functions", CREATION, status=201)["data"]
    body = Kapso.body(name="Tool 2", code=CODE + "//", public_endpoint=True, invoke_response_mode="passthrough")

    changed = script("PATCH", f"/functions/{made['id']}", body)["data"]

    assert (changed["id"], changed["name"], changed["public_endpoint"]) == (made["id"], "Tool 2", True)
    assert (changed["lock_version"], changed["code"]) == (1, CODE + "//")


def test_a_failed_deploy_is_seen_by_polling(script: Script) -> None:
    made = script("POST", "/functions", Kapso.body(name="Bad", code="async function handler( {"), status=201)["data"]
    script("POST", f"/functions/{made['id']}/deploy", "{}", status=202)

    assert poll(script, made["id"])["status"] == "error"


def test_the_push_command_updates_by_name_and_creates_otherwise(script: Script) -> None:
    """The older CLI: list, match by name, PATCH or POST, deploy."""
    for code in (CODE, CODE + "// changed"):
        found = [function for function in script("GET", "/functions")["data"] if function["name"] == "Pushed"]
        if found:
            pushed = script("PATCH", f"/functions/{found[0]['id']}", Kapso.body(code=code))["data"]
        else:
            pushed = script("POST", "/functions", Kapso.body(name="Pushed", code=code), status=201)["data"]
        script("POST", f"/functions/{pushed['id']}/deploy", "{}", status=202)

    deployed = poll(script, pushed["id"])
    assert (deployed["code"], deployed["version"]) == (CODE + "// changed", 2)
    assert len(script("GET", "/functions")["data"]) == 1


def test_errors_are_what_the_scripts_print(script: Script) -> None:
    assert script("GET", "/functions/not-a-uuid", status=404) == {"error": "Function not found"}
    assert script("POST", "/functions/not-a-uuid/deploy", "{}", status=404) == {"error": "Function not found"}
    assert script("GET", "/functions/not-a-uuid/invocations", status=404) == {"error": "Function not found"}
    assert script("POST", "/functions/not-a-uuid/invoke", "{}", status=404) == {"error": "Function not found"}
    assert isinstance(script("POST", "/functions", "{", status=400)["error"], str)

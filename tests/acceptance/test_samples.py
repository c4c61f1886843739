"""The vendor's published samples, as printed, run with the real `curl`. Only host, key and id are replaced."""

from __future__ import annotations

import json
import subprocess
import uuid

import pytest

from tests.support.kapso import Kapso
from tests.support.projects import Project

LIST = """\
curl https://app.kapso.ai/api/v1/functions \\
  -H "X-API-Key: YOUR_API_KEY"
"""
CREATE = """\
curl -X POST https://app.kapso.ai/api/v1/functions \\
  -H "X-API-Key: YOUR_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "function": {
      "name": "Process Webhook",
      "description": "Processes incoming webhooks",
      "code": "export default function handler(request) { return new Response(\\"OK\\"); }"
    }
  }'
"""
DEPLOY = """\
curl -X POST https://app.kapso.ai/api/v1/functions/{function_id}/deploy \\
  -H "X-API-Key: YOUR_API_KEY"
"""
INVOKE = """\
curl -X POST https://app.kapso.ai/api/v1/functions/{function_id}/invoke \\
  -H "X-API-Key: YOUR_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "data": "your request payload"
  }'
"""
OLDER_CODE = """\
export default function handler(request) {
  // Your function logic here
  return new Response(JSON.stringify({ 
    message: "Hello from Kapso Function!" 
  }), {
    headers: { "Content-Type": "application/json" }
  });
}
"""  # noqa: W291 (as printed)
NEWER_CODE = """\
async function handler(request, env) {
const body = await request.json().catch(() => ({}));
return new Response(JSON.stringify({
ok: true,
received: body
}), {
headers: { "Content-Type": "application/json" }
});
}
"""
NEWER_URL = "https://api.kapso.ai/platform/v1/functions/{function_id}/invoke"


class Curl:
    """Runs a printed command in a shell, against `base` of the test's server and with a key of its project."""

    def __init__(self, home: Project, base: str) -> None:
        self._home = home
        self._base = base
        self._key = home.key()

    def __call__(self, command: str, *, function_id: str = "", key: str | None = None) -> tuple[int, str]:
        """Status and body of the reply."""
        command = command.replace("https://app.kapso.ai/api/v1", self._home.server.url + self._base)
        command = command.replace("YOUR_API_KEY", self._key if key is None else key)
        command = command.replace("{function_id}", function_id)
        done = subprocess.run(
            ["sh", "-c", command.rstrip("\n") + " --silent --show-error --write-out '\\n%{http_code}'"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body


@pytest.fixture
def curl(home: Project, api: Kapso) -> Curl:
    return Curl(home, api.base)


def test_the_commands_create_list_deploy_and_call(curl: Curl, api: Kapso) -> None:
    status, body = curl(CREATE)
    function = json.loads(body)["data"]
    assert (status, function["name"], function["slug"]) == (201, "Process Webhook", "process-webhook")
    assert function["code"] == 'export default function handler(request) { return new Response("OK"); }'

    status, body = curl(LIST)
    assert (status, [listed["id"] for listed in json.loads(body)["data"]]) == (200, [function["id"]])

    status, body = curl(INVOKE, function_id=function["id"])
    assert (status, json.loads(body)) == (422, {"error": "Function is not deployed"})

    status, body = curl(DEPLOY, function_id=function["id"])
    assert (status, json.loads(body)["function_id"]) == (202, function["id"])
    api.wait_deployed(function["id"])

    assert curl(INVOKE, function_id=function["id"]) == (200, "OK")
    (item,) = api.invocations(function["id"])
    assert item["request_body"] == {"data": "your request payload"}


def test_the_commands_fail_as_described(curl: Curl) -> None:
    unknown = str(uuid.uuid4())

    status, body = curl(LIST, key="wrong")
    assert (status, list(json.loads(body))) == (401, ["error"])
    status, body = curl(DEPLOY, function_id=unknown)
    assert (status, json.loads(body)) == (404, {"error": "Function not found"})
    status, body = curl(INVOKE, function_id=unknown)
    assert (status, json.loads(body)) == (404, {"error": "Function not found"})


def test_the_older_code_sample_answers_its_greeting(curl: Curl, api: Kapso) -> None:
    function_id = api.deployed(OLDER_CODE)

    status, body = curl(INVOKE, function_id=function_id)

    assert (status, json.loads(body)) == (200, {"message": "Hello from Kapso Function!"})


def test_the_newer_code_sample_echoes_its_payload(curl: Curl, api: Kapso) -> None:
    function_id = api.deployed(NEWER_CODE)

    status, body = curl(INVOKE, function_id=function_id)

    assert (status, json.loads(body)) == (200, {"ok": True, "received": {"data": "your request payload"}})
    assert api.invoke(function_id).json() == {"ok": True, "received": {}}


def test_the_newer_address_is_the_functions_endpoint(platform: Kapso, home: Project) -> None:
    function = platform.create(NEWER_CODE)

    assert function["endpoint_url"] == NEWER_URL.replace("https://api.kapso.ai", home.server.url).format(
        function_id=function["id"]
    )

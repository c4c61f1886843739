"""The samples of Butterbase's documentation, as printed."""

import json

import httpx

from tests.support.butterbase import Butterbase

DEPLOY = r"""{
"name": "hello-world",
"code": "export default async function handler(req) {\n return new Response(JSON.stringify({ message: 'Hello!' }), {\n headers: { 'Content-Type': 'application/json' }\n });\n}",
"description": "A simple greeting function",
"trigger": {
"type": "http",
"config": {}
},
"envVars": {
"API_KEY": "secret123"
},
"timeoutMs": 30000,
"memoryLimitMb": 128
}"""  # noqa: E501
ENVIRONMENT = """{
"API_KEY": "new-secret",
"NEW_VAR": "value"
}"""


def _send(butterbase: Butterbase, method: str, path: str, body: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {butterbase.key}"}
    return butterbase.public.request(method, f"/v1/{butterbase.app}{path}", content=body, headers=headers)


def test_the_sample_deploys_and_answers(butterbase: Butterbase) -> None:
    deployed = _send(butterbase, "POST", "/functions", DEPLOY)

    assert deployed.status_code == 200, deployed.text
    called = butterbase.call("hello-world", headers={"Authorization": f"Bearer {butterbase.key}"})
    assert (called.status_code, called.json()) == (200, {"message": "Hello!"})
    assert called.headers["content-type"] == "application/json"


def test_the_sample_changes_the_environment(butterbase: Butterbase) -> None:
    code = "export default async function handler(req, ctx) { return Response.json(ctx.env); }"
    _send(butterbase, "POST", "/functions", json.dumps({**json.loads(DEPLOY), "code": code}))

    changed = _send(butterbase, "PATCH", "/functions/hello-world/env", ENVIRONMENT)

    assert changed.json()["updatedKeys"] == ["API_KEY", "NEW_VAR"]
    seen = butterbase.call("hello-world", headers={"X-API-Key": butterbase.key}).json()
    assert (seen["API_KEY"], seen["NEW_VAR"]) == ("new-secret", "value")


def test_the_sample_query_of_logs_finds_errors_in_the_seeds_names(butterbase: Butterbase) -> None:
    code = "export default function handler(req) { if (req.method === 'POST') throw new Error('boom');"
    butterbase.deploy("loud", code + " return new Response('fine'); }")
    butterbase.call("loud")
    butterbase.call("loud", "POST")

    reply = _send(butterbase, "GET", "/functions/loud/logs?limit=50&since=2026-01-01T00:00:00Z&level=error", "")

    (entry,) = reply.json()["logs"]
    assert (entry["method"], entry["path"], entry["status_code"]) == ("POST", f"/v1/{butterbase.app}/fn/loud", 500)
    assert entry["error"] == "Error: boom"
    assert entry["memory_mb"] > 1
    assert entry["duration_ms"] >= 0


def test_details_carry_the_seeds_metrics(butterbase: Butterbase) -> None:
    butterbase.deploy(
        "counted", "export default (req) => new Response('', { status: req.url.endsWith('?bad') ? 400 : 200 })"
    )
    for query in ("", "", "", "?bad"):
        butterbase.call("counted" + query)

    shown = butterbase.get("counted")

    assert (shown["total_invocations"], shown["error_count"], shown["error_rate"]) == (4, 1, 25)
    assert (shown["invocationCount"], shown["errorCount"], shown["errorRate"]) == (4, 1, 0.25)
    assert shown["avg_duration_ms"] == shown["avgDuration"] > 0
    assert shown["last_invocation"] == shown["lastInvoked"] == butterbase.logs("counted")[0]["timestamp"]

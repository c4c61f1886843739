"""Walks the tables of routes: no key, another project's key, or too small a role is refused and changes nothing."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from msgspec import Struct

from isolet.domain.access import Role
from tests.support.access_tables import ROWS, TABLES, Row
from tests.support.kapso import Kapso
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.workflows import a_line, a_node

V1 = "/isolet/v1"
CODE = "export default { fetch: () => new Response('hello') }"
SOURCE = {"code": base64.b64encode(CODE.encode()).decode()}
# What each row takes, so that nothing but the check of the row is in the way of a change.
_BODIES: dict[tuple[str, str], Any] = {
    ("POST", f"{V1}/projects"): {"slug": "stolen"},
    ("PATCH", f"{V1}/projects/{{slug}}"): {"name": "stolen"},
    ("POST", f"{V1}/projects/{{slug}}/keys"): {"name": "stolen", "role": "admin"},
    ("PUT", f"{V1}/projects/{{slug}}/auth"): {"hs256_secret": "s" * 32},
    ("PATCH", f"{V1}/functions/{{function_id}}"): {"name": "stolen"},
    ("POST", f"{V1}/functions/{{function_id}}/rollback"): {"version": 1},
    ("PUT", f"{V1}/projects/{{slug}}/model"): {"base_url": "https://stolen.example/v1", "model": "stolen"},
    ("POST", f"{V1}/projects/{{slug}}/database/query"): {"sql": "CREATE TABLE stolen (a)"},
    **{
        (method, base + path): body
        for base in ("/platform/v1/functions", "/api/v1/functions")
        for method, path, body in (
            ("POST", "", {"function": {"name": "stolen", "code": CODE}}),
            ("PATCH", "/{function_id}", {"function": {"name": "stolen"}}),
            ("PUT", "/{function_id}", {"function": {"name": "stolen"}}),
            ("POST", "/{function_id}/secrets", {"secret": {"name": "STOLEN", "value": "a"}}),
        )
    },
    **{
        (method, path): body
        for base in ("/platform/v1/workflows", "/api/v1/flows")
        for method, path, body in (
            ("POST", base, {"workflow": {"name": "stolen"}}),
            ("PATCH", base + "/{workflow_id}", {"workflow": {"name": "stolen"}}),
            ("POST", base + "/{workflow_id}/triggers", {"trigger": {"trigger_type": "api_call"}}),
            ("PUT", base + "/{workflow_id}/triggers", {"triggers": []}),
            ("POST", base + "/{workflow_id}/executions", {"workflow_execution": {"phone_number": "1"}}),
        )
    },
    ("POST", "/platform/v1/workflow_executions/{execution_id}/resume"): {"message": {"data": "stolen"}},
    ("PATCH", "/platform/v1/workflow_executions/{execution_id}"): {"workflow_execution": {"status": "ended"}},
    ("PATCH", "/platform/v1/triggers/{workflow_trigger_id}"): {"trigger": {"active": False}},
    ("PUT", f"{V1}/flows/{{workflow_id}}/policies"): {"start": {"retries": 1}},
    ("PUT", f"{V1}/projects/{{slug}}/channel"): {"url": "https://stolen.example/"},
    ("POST", f"{V1}/projects/{{slug}}/events"): {"name": "run.starts"},
    ("POST", "/platform/v1/events"): {"name": "run.starts"},
    ("PUT", f"{V1}/functions/{{function_id}}/secrets/{{secret_name}}"): {"value": "a"},
    ("PATCH", f"{V1}/functions/{{function_id}}/variables"): {"STOLEN": "a"},
    ("POST", f"{V1}/functions/{{function_id}}/schedules"): {"cron": "* * * * *", "name": "stolen"},
    ("POST", f"{V1}/flows/{{workflow_id}}/schedules"): {"cron": "* * * * *", "name": "stolen"},
    ("POST", f"{V1}/schedules/preview"): {"cron": "* * * * *"},
    ("PATCH", f"{V1}/schedules/{{schedule_id}}"): {"enabled": False},
    ("POST", f"{V1}/schedules/{{schedule_id}}/backfill"): {"from": "2027-01-01", "to": "2027-01-01"},
    ("POST", f"{V1}/projects/{{slug}}/functions"): {"name": "stolen", "code": CODE},
    ("PUT", f"{V1}/projects/{{slug}}/functions/{{name}}"): {"code": CODE},
    ("POST", "/v1/{app_id}/functions"): {"name": "stolen", "code": CODE},
    ("PATCH", "/v1/{app_id}/env"): {"envVars": {"STOLEN": "a"}},
    ("PATCH", "/v1/{app_id}/functions/{name:path}/env"): {"envVars": {"STOLEN": "a"}},
    ("PATCH", "/v1/{app_id}/functions/{name:path}/settings"): {"allow_service_key_impersonation": True},
    ("POST", "/spaces/{space}/triggers"): {"type": "cron"},
    ("PUT", "/spaces/{space}/triggers/{trigger_id}"): {"type": "mqtt"},
    ("POST", "/spaces/{space}/functions"): {"name": "stolen", "source": SOURCE},
    ("PUT", "/spaces/{space}/functions/{name}"): {"description": "stolen", "source": SOURCE},
}
# Calls of functions are not management, and OAuth has its credentials in a form.
_WITHOUT_ROW = re.compile(r"/fn/\{name}$|/invoke$|/async-invoke$|^/oauth2/")


def _id(row: Row) -> str:
    return f"{row.method} {row.path}"


class Victim(Struct, frozen=True, kw_only=True):
    """A project with one of everything; `keys` are its own by role, `stranger` is an admin of another one."""

    root: httpx.Client
    nobody: httpx.Client
    keys: dict[Role, str]
    stranger: str
    values: dict[str, str]

    def send(self, row: Row, key: str | None) -> httpx.Response:
        headers = {} if key is None else {"X-API-Key": key}
        body = _BODIES.get((row.method, row.path), {})
        return self.nobody.request(row.method, row.url(self.values), json=body, headers=headers)

    def state(self) -> list[Any]:
        """All that the rows could change."""
        project = f"{V1}/projects/{self.values['slug']}"
        function = f"{V1}/functions/{self.values['function_id']}"
        paths = [V1 + "/projects?limit=500", project, project + "/keys", project + "/auth", project + "/kv"]
        paths += [
            project + "/webhook-secrets",
            project + "/database",
            function,
            function + "/versions",
            function + "/schedules",
        ]
        paths += [function + "/secrets", function + "/variables", function + "/files"]
        paths += [project + "/namespaces", project + "/databases"]
        paths += [f"{V1}/invocations?project={self.values['slug']}", f"{V1}/functions?project={self.values['slug']}"]
        paths += [f"/spaces/{self.values['space']}/triggers"]
        app, kapso = f"/v1/{self.values['slug']}", f"/platform/v1/functions/{self.values['function_id']}"
        paths += [app + "/env", f"{app}/functions/{self.values['name']}", kapso, kapso + "/secrets"]
        workflow = f"/platform/v1/workflows/{self.values['workflow_id']}"
        paths += [workflow + "/definition", workflow + "/triggers", workflow + "/executions"]
        paths += [f"/platform/v1/workflow_executions/{self.values['execution_id']}"]
        paths += [f"{V1}/flows/{self.values['workflow_id']}/schedules"]
        paths += [f"{V1}/flows/{self.values['workflow_id']}/policies", project + "/channel"]
        paths += [f"{V1}/executions/{self.values['execution_id']}", f"{V1}/executions?project={self.values['slug']}"]
        return [_lasting(self.root.get(path).json()) for path in paths]


def _lasting(shown: dict[str, Any]) -> dict[str, Any]:
    """Without what changes by itself: a request that is refused uses its key, too, and the files of databases shrink
    when their process stops."""
    for one in shown["data"] if isinstance(shown.get("data"), list) else []:
        one.pop("last_used_at", None)
        one.pop("size_bytes", None)
    return shown


@pytest.fixture(scope="module")
def victim(server: Server, root: httpx.Client) -> Iterator[Victim]:
    slug, other = (f"p-{uuid.uuid4().hex[:12]}" for _ in range(2))
    for made in (slug, other):
        assert root.post(f"{V1}/projects", json={"slug": made}).status_code == 201
    made_keys = {role: _key(root, slug, role) for role in Role}
    with server.client(made_keys[Role.ADMIN]["key"]) as admin, server.client("") as nobody:
        kapso = Kapso(admin)
        function_id = kapso.deployed("async function handler() { return new Response('hello') }")
        invocation_id = kapso.invoke(function_id).headers["x-invocation-id"]
        assert admin.put(f"{V1}/projects/{slug}/kv/key", content=b"value").status_code == 204
        for place in ("kv/key?namespace=kept", "database/import?database=kept"):
            method = "PUT" if place.startswith("kv") else "POST"
            assert admin.request(method, f"{V1}/projects/{slug}/{place}", content=b"SELECT 1").is_success
        secret_id = admin.post(f"{V1}/projects/{slug}/webhook-secrets").json()["id"]
        schedule = admin.post(f"{V1}/functions/{function_id}/schedules", json={"cron": "0 0 1 1 *"})
        trigger = admin.post(f"/spaces/{slug}/triggers", json={"type": "mqtt"})
        workflows = "/platform/v1/workflows"
        own = {"name": "Own", "definition": a_line(a_node("wait", "wait_for_response"))}
        workflow_id = admin.post(workflows, json={"workflow": own}).json()["data"]["id"]
        active = admin.patch(f"{workflows}/{workflow_id}", json={"workflow": {"status": "active"}})
        assert active.is_success, active.text
        started = admin.post(f"{workflows}/{workflow_id}/executions", json={"workflow_execution": {}}).json()["data"]
        execution = f"/platform/v1/workflow_executions/{started['id']}"
        wait_until(lambda: admin.get(execution).json()["data"]["status"] == "waiting", what="the run to wait")
        event_id = admin.get(execution + "/events").json()["data"][0]["id"]
        by_call = {"trigger": {"trigger_type": "api_call"}}
        started_by = admin.post(f"{workflows}/{workflow_id}/triggers", json=by_call)
        by_event = {"trigger": {"trigger_type": "project_event", "event_name": "run.starts"}}
        assert admin.post(f"{workflows}/{workflow_id}/triggers", json=by_event).is_success
        values = {
            **dict.fromkeys(("slug", "project", "app_id", "space"), slug),
            "name": kapso.get(function_id)["slug"],
            "function_id": function_id,
            "invocation_id": invocation_id,
            "key_id": made_keys[Role.DEPLOY]["id"],
            "secret_id": secret_id,
            "store": "kept",
            "key": "key",
            "number": "1",
            "secret_name": "STOLEN",
            "schedule_id": schedule.json()["id"],
            "trigger_id": trigger.json()["id"],
            "workflow_id": workflow_id,
            "execution_id": started["id"],
            "event_id": event_id,
            "workflow_trigger_id": started_by.json()["data"]["id"],
        }
        yield Victim(
            root=root,
            nobody=nobody,
            keys={role: made["key"] for role, made in made_keys.items()},
            stranger=_key(root, other, Role.ADMIN)["key"],
            values=values,
        )
    for made in (slug, other):
        assert root.delete(f"{V1}/projects/{made}").status_code == 204


def _key(root: httpx.Client, slug: str, role: Role) -> dict[str, str]:
    made: dict[str, str] = root.post(f"{V1}/projects/{slug}/keys", json={"name": role, "role": role}).json()
    return made


@pytest.mark.parametrize("prefix", TABLES)
def test_every_management_route_has_a_row(root: httpx.Client, prefix: str) -> None:
    paths = root.get("/openapi.json").json()["paths"]
    own = [path for path in paths if path.startswith(prefix + "/") and not _WITHOUT_ROW.search(path)]
    assert {(method.upper(), path) for path in own for method in paths[path]} == {
        (row.method, row.template) for row in TABLES[prefix]
    }


def test_no_management_route_is_in_no_table(root: httpx.Client) -> None:
    prefixes = tuple(prefix + "/" for prefix in TABLES)
    paths = [path for path in root.get("/openapi.json").json()["paths"] if not path.startswith(prefixes)]
    assert [path for path in paths if not _WITHOUT_ROW.search(path)] == ["/metrics", "/healthz"]


def test_refused_requests_change_nothing(victim: Victim) -> None:
    """One look at the state for all rows: a change by any of them shows."""
    before = victim.state()
    refused: list[tuple[str, int, str]] = []
    wanted: list[tuple[str, int, str]] = []

    def expect(row: Row, who: str, key: str | None, status: int, code: str) -> None:
        reply = victim.send(row, key)
        name = f"{who}: {_id(row)}"
        wanted.append((name, status, code))
        refused.append((name, reply.status_code, row.code(reply) if reply.is_error else reply.text[:100]))

    for row in ROWS:
        expect(row, "no key", None, 401, "unauthenticated")
        expect(row, "wrong key", "isk_wrong", 401, "unauthenticated")
        for role in row.smaller:
            expect(row, role, victim.keys[role], 403, "forbidden")
        if row.access.root:
            expect(row, "admin", victim.keys[Role.ADMIN], 403, "forbidden")
            expect(row, "stranger", victim.stranger, 403, "forbidden")
        elif row.names or "project" in row.access.project.query:
            expect(row, "stranger", victim.stranger, 404, "not_found")
    assert refused == wanted
    assert victim.state() == before


def test_the_smallest_role_passes(victim: Victim) -> None:
    """Of every route that reads: the check of a row refuses no more than it says."""
    for row in ROWS:
        if row.method == "GET" and not row.access.root and "stream" not in row.path:
            reply = victim.send(row, victim.keys[row.access.wider or row.access.role])
            assert reply.status_code == 200, (_id(row), reply.text)

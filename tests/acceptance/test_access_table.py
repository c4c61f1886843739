"""Walks the tables of routes: no key, another project's key, or too small a role is refused and changes nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from isolet.domain.access import Role
from tests.support.access_tables import NATIVE, ROWS, Row
from tests.support.kapso import Kapso
from tests.support.server import Server

V1 = "/isolet/v1"
# What each row takes, so that nothing but the check of the row is in the way of a change.
_BODIES: dict[tuple[str, str], Any] = {
    ("POST", f"{V1}/projects"): {"slug": "stolen"},
    ("PATCH", f"{V1}/projects/{{slug}}"): {"name": "stolen"},
    ("POST", f"{V1}/projects/{{slug}}/keys"): {"name": "stolen", "role": "admin"},
    ("PUT", f"{V1}/projects/{{slug}}/auth"): {"hs256_secret": "s" * 32},
    ("PATCH", f"{V1}/functions/{{function_id}}"): {"name": "stolen"},
    ("POST", f"{V1}/functions/{{function_id}}/rollback"): {"version": 1},
    ("POST", f"{V1}/projects/{{slug}}/database/query"): {"sql": "CREATE TABLE stolen (a)"},
}


def _id(row: Row) -> str:
    return f"{row.method} {row.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
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
        paths += [project + "/webhook-secrets", project + "/database", function, function + "/versions"]
        paths += [f"{V1}/invocations?project={self.values['slug']}"]
        return [self.root.get(path).json() for path in paths]


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
        secret_id = admin.post(f"{V1}/projects/{slug}/webhook-secrets").json()["id"]
        values = {
            "slug": slug,
            "project": slug,
            "function_id": function_id,
            "invocation_id": invocation_id,
            "key_id": made_keys[Role.DEPLOY]["id"],
            "secret_id": secret_id,
            "key": "key",
            "number": "1",
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


def test_every_native_route_has_a_row(root: httpx.Client) -> None:
    paths = root.get("/openapi.json").json()["paths"]
    described = {(method.upper(), path) for path in paths if path.startswith(V1) for method in paths[path]}
    assert described == {(row.method, row.template) for row in NATIVE}


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

"""Rate limits by plan, in each dialect, on a running server."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from msgspec import Struct
from websockets.sync.client import connect

from tests.support.butterbase import Butterbase
from tests.support.every_door import DOORS, Doors, behind_all_doors
from tests.support.server import NO_CAS, ROOT_KEY, Server


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("rates") / "data", rate_limits="free=3,pro=100") as running:
        yield running


@pytest.fixture
def free(strict: Server) -> Iterator[httpx.Client]:
    """A client with a key of a project on the plan `free`."""
    slug = f"p-{uuid.uuid4().hex[:12]}"
    with strict.client() as root:
        root.post("/isolet/v1/projects", json={"slug": slug, "plan": "free"})
        key = root.post(f"/isolet/v1/projects/{slug}/keys", json={"name": "a", "role": "admin"}).json()["key"]
    with strict.client(key) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/platform/v1/functions", "GET", 200),
        ("/api/v1/functions/none/invoke", "POST", 404),
        ("/isolet/v1/functions", "GET", 200),
    ],
)
def test_a_key_over_its_plan_is_refused_in_the_dialect_of_the_path(
    free: httpx.Client, path: str, method: str, status: int
) -> None:
    for remaining in ("2", "1", "0"):
        reply = free.request(method, path)
        assert reply.status_code == status
        assert reply.headers["x-ratelimit-limit"] == "3"
        assert reply.headers["x-ratelimit-remaining"] == remaining
    refused = free.request(method, path)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "60"
    assert refused.headers["x-ratelimit-remaining"] == "0"
    text = "Rate limit exceeded: 3 requests a minute"
    native = {"error": {"code": "too_many_requests", "message": text}}
    assert refused.json() == (native if path.startswith("/isolet") else {"error": text})


# It says of the minute what is not so.
COUNT = """const headers = { "X-RateLimit-Remaining": "9999" };
export default { async fetch(request) {
  if (request.headers.get("upgrade") !== "websocket") return new Response("ok", { headers });
  const [client, server] = Object.values(new WebSocketPair());
  server.accept();
  return new Response(null, { status: 101, webSocket: client, headers });
} }"""
SECRET = "s" * 40


class Limited(Struct, frozen=True, kw_only=True):
    """A function behind all doors of a project on the plan `pro`."""

    doors: Doors
    root: httpx.Client
    token: str
    client_id: str

    def left(self, door: str, **headers: str) -> int:
        """What a call that succeeds leaves of the minute."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = self.doors.public.post(self.doors.path(door), headers=sent, json={})
        assert reply.status_code == 200, reply.text
        assert reply.headers["x-ratelimit-limit"] == "100"
        return int(reply.headers["x-ratelimit-remaining"])


@pytest.fixture
def limited(strict: Server) -> Iterator[Limited]:
    """A function behind all doors, in a project whose minute is still whole: the plan comes last."""
    slug = f"p-{uuid.uuid4().hex[:12]}"
    with strict.client() as root, strict.client("") as public:
        root.post("/isolet/v1/projects", json={"slug": slug})
        key = root.post(f"/isolet/v1/projects/{slug}/keys", json={"name": "a", "role": "admin"}).json()
        root.put(f"/isolet/v1/projects/{slug}/auth", json={"hs256_secret": SECRET})
        form = {"grant_type": "client_credentials", "client_id": key["id"], "client_secret": key["key"]}
        token = public.post("/oauth2/token", data=form).json()["access_token"]
        with strict.client(key["key"]) as client:
            doors = behind_all_doors(Butterbase(client, public), COUNT)
            root.patch(f"/isolet/v1/projects/{slug}", json={"plan": "pro"})
            yield Limited(doors=doors, root=root, token=token, client_id=key["id"])


def test_every_principal_counts_against_its_project(limited: Limited) -> None:
    key = limited.doors.key
    user = jwt.encode({"alg": "HS256"}, {"sub": "u", "exp": 4_000_000_000}, OctKey.import_key(SECRET))
    made = limited.root.post(f"/isolet/v1/projects/{limited.doors.app}/keys", json={"name": "b", "role": "invoke"})
    ways: dict[str, tuple[str, dict[str, str]]] = {
        "anonymous at Kapso": ("kapso", {}),
        "junk at Kapso": ("kapso", {"X_API_Key": "junk"}),
        "the older base": ("kapso older", {"X_API_Key": key}),
        "anonymous at Butterbase": ("butterbase", {}),
        "an end user": ("butterbase", {"Authorization": f"Bearer {user}"}),
        "a bearer beside junk": ("butterbase", {"Authorization": f"Bearer {key}", "X_API_Key": "junk"}),
        "a key beside junk": ("butterbase", {"Authorization": "Bearer junk", "X_API_Key": key}),
        "the owner": ("butterbase test call", {"Authorization": f"Bearer {key}"}),
        "a token": ("altair", {"Authorization": f"Bearer {limited.token}"}),
        "a token beside junk": ("altair", {"Authorization": f"Bearer {limited.token}", "X_API_Key": "junk"}),
        "another key": ("altair", {"X_API_Key": made.json()["key"]}),
    }
    left = limited.left("kapso")
    for what, (door, headers) in ways.items():
        before, left = left, limited.left(door, **headers)
        # A minute may have ended in between.
        assert left in (before - 1, 99), what


def test_requests_for_websockets_and_management_count_too(limited: Limited, strict: Server) -> None:
    app, key = limited.doors.app, limited.doors.key
    left = limited.left("kapso")
    with connect(f"ws{strict.url[4:]}{limited.doors.path('butterbase')}") as socket:
        assert socket.response is not None
        told = int(socket.response.headers["x-ratelimit-remaining"])
    assert told in (left - 1, 99)
    form = {"grant_type": "client_credentials", "client_id": limited.client_id, "client_secret": key}
    public = limited.doors.public
    for reply in (
        public.post("/oauth2/token", data=form),
        public.get(f"/v1/{app}/functions", headers={"Authorization": f"Bearer {key}", "X-API-Key": "junk"}),
        public.get(f"/spaces/{app}/functions", headers={"Authorization": f"Bearer {limited.token}"}),
        public.get("/isolet/v1/limits", headers={"Authorization": f"Bearer {key}"}),
    ):
        assert reply.status_code == 200
        before, told = told, int(reply.headers["x-ratelimit-remaining"])
        assert told in (before - 1, 99), reply.url


def test_whom_nobody_lets_in_uses_up_nothing(limited: Limited) -> None:
    public, app = limited.doors.public, limited.doors.app
    for door in ("kapso older", "butterbase test call", "altair"):
        reply = public.post(limited.doors.path(door), headers={"X-API-Key": "junk"}, json={})
        assert (reply.status_code, reply.headers.get("x-ratelimit-limit")) == (401, None)
    for path in ("/isolet/v1/limits", f"/v1/{app}/functions", f"/spaces/{app}/functions"):
        reply = public.get(path, headers={"X-API-Key": "junk"})
        assert (reply.status_code, reply.headers.get("x-ratelimit-limit")) == (401, None)
    assert "x-ratelimit-limit" not in limited.root.get(f"/isolet/v1/projects/{app}").headers
    assert "x-ratelimit-limit" not in limited.doors.call("kapso", headers={"X-API-Key": ROOT_KEY}, json={}).headers


@pytest.mark.parametrize("door", DOORS)
def test_a_project_over_its_plan_is_refused_at_every_door(limited: Limited, door: str) -> None:
    limited.root.patch(f"/isolet/v1/projects/{limited.doors.app}", json={"plan": "free"})
    # A minute may end in between, then three more pass.
    replies = [limited.doors.call(door, json={}) for _ in range(8)]
    reply = next(reply for reply in replies if reply.status_code == 429)
    assert (reply.headers["retry-after"], reply.headers["x-ratelimit-remaining"]) == ("60", "0")
    assert "Rate limit exceeded: 3 requests a minute" in reply.text
    error = reply.json()["error"]
    if door.startswith("butterbase"):
        assert error["code"] == "QUOTA_RATE_LIMIT"
    elif door == "altair":
        assert error["status"] == 429
    else:
        assert error == "Rate limit exceeded: 3 requests a minute"


def test_what_a_session_asks_of_the_dashboard_counts_against_the_plan_of_its_project(strict: Server) -> None:
    slug, origin = f"p-{uuid.uuid4().hex[:12]}", strict.pages_url
    with strict.client() as root:
        root.post("/isolet/v1/projects", json={"slug": slug, "plan": "free"})
        key = root.post(f"/isolet/v1/projects/{slug}/keys", json={"name": "a", "role": "admin"}).json()["key"]
    page, relayed = f"/dashboard/projects/{slug}/functions", "/dashboard/api/functions"
    browser = httpx.Client(base_url=origin, headers={"Origin": origin}, trust_env=False, verify=NO_CAS, timeout=60)
    with browser, strict.client(key) as api:
        replies = [browser.post("/dashboard/login", data={"key": key}), browser.get(page)]
        found = re.search(r'name="form_token" value="([0-9a-f]{64})"', replies[1].text)
        assert found is not None
        replies.append(browser.get(relayed, headers={"X-Form-Token": found[1]}))
        assert [reply.status_code for reply in replies] == [303, 200, 200]
        assert [reply.headers["x-ratelimit-remaining"] for reply in replies] == ["2", "1", "0"]
        for refused in (
            browser.get(page),
            browser.get(relayed, headers={"X-Form-Token": found[1]}),
            browser.post("/dashboard/login", data={"key": key}),
            api.get("/isolet/v1/functions"),
        ):
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "60"), refused.url
            assert "Rate limit exceeded: 3 requests a minute" in refused.text
        browser.post("/dashboard/login", data={"key": ROOT_KEY})
        shown = browser.get(page)
        assert (shown.status_code, "x-ratelimit-limit" in shown.headers) == (200, False)


def test_where_no_limit_applies_no_header_speaks_of_one(server: Server, project: httpx.Client, tmp_path: Path) -> None:
    reply = project.get("/platform/v1/functions")
    assert reply.status_code == 200
    assert "x-ratelimit-limit" not in reply.headers


def test_metrics_want_the_root_key(server: Server, root: httpx.Client, project: httpx.Client) -> None:
    with server.client("") as nobody:
        assert nobody.get("/metrics").status_code == 401
    assert project.get("/metrics").status_code == 403
    page = root.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    for name in ("isolet_instances", "isolet_records_lost_total", "process_cpu_seconds_total"):
        assert f"# TYPE {name.removesuffix('_total')}" in page.text or f"# TYPE {name}" in page.text, name


def test_metrics_may_be_public(tmp_path: Path) -> None:
    with Server(tmp_path / "data", metrics_public="true") as running, running.client("") as nobody:
        assert nobody.get("/metrics").status_code == 200

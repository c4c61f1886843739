"""Rate limits by plan, in each dialect, on a running server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.server import Server


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("rates") / "data", rate_limits="free=3") as running:
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

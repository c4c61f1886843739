"""The model of a project: what may be set, and that its key is nowhere in clear."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.projects import Project, new_project
from tests.support.server import Server

KEY = "sk-test-4f9ab2c1d0"


def url(project: Project) -> str:
    return f"/isolet/v1/projects/{project.slug}/model"


def test_a_model_is_set_and_its_key_is_not_shown(server: Server, root: httpx.Client) -> None:
    with new_project(server, root) as project, server.client(project.key("deploy")) as deployer:
        nothing = {"base_url": None, "model": None, "api_key_secret": None, "stream": False}
        assert project.client.get(url(project)).json() == nothing
        body = {"base_url": "https://models.example/v1/", "model": "large", "api_key_secret": KEY, "stream": True}
        shown = {**body, "base_url": "https://models.example/v1", "api_key_secret": "***"}
        assert project.client.put(url(project), json=body).json() == shown
        assert project.client.get(url(project)).json() == shown
        assert deployer.get(url(project)).status_code == 403
        assert KEY.encode() not in (server.data_dir / "isolet.db").read_bytes()
        assert KEY not in server.log

        kept = project.client.put(url(project), json={**shown, "model": "larger"})
        assert kept.json() == {**shown, "model": "larger"}
        moved = project.client.put(url(project), json={**shown, "base_url": "https://evil.example/v1"})
        assert (moved.status_code, project.client.get(url(project)).json()["model"]) == (422, "larger")

        plain = {"base_url": "http://models.example:11434/v1/chat/completions", "model": "small"}
        told = project.client.put(url(project), json=plain).json()
        assert (told["base_url"], told["api_key_secret"], told["stream"]) == (
            "http://models.example:11434/v1",
            None,
            False,
        )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_url": "ftp://models.example"}, "base_url"),
        ({"base_url": "https://user:pass@models.example/v1"}, "base_url"),
        ({"base_url": "https://models.example/v1?a=1"}, "without a query"),
        ({"base_url": "https://127.0.0.1/v1"}, "is refused"),
        ({"base_url": "https://169.254.169.254/v1"}, "is refused"),
        ({"base_url": "https://0x7f.1/v1"}, "base_url"),
        ({"base_url": "https://models.example/\r\nx: y"}, "base_url"),
        ({"model": ""}, "model"),
        ({"model": "a\nb"}, "model"),
        ({"api_key_secret": "a\r\nx: y"}, "api_key_secret"),
        ({"api_key_secret": "ключ"}, "api_key_secret"),
        ({"stream": "yes"}, "stream"),
        ({"more": 1}, "more"),
    ],
)
def test_settings_that_are_refused(project: httpx.Client, changes: dict[str, Any], said: str) -> None:
    slug = project.get("/isolet/v1/projects").json()["data"][0]["slug"]
    body = {"base_url": "https://models.example/v1", "model": "m", **changes}
    reply = project.put(f"/isolet/v1/projects/{slug}/model", json=body)
    assert (reply.status_code, said in reply.json()["error"]["message"]) == (422, True), reply.text
    assert project.get(f"/isolet/v1/projects/{slug}/model").json()["model"] is None

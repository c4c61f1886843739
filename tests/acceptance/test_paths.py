"""Encoded slashes belong to a name: they neither choose a route nor make the server fail."""

from __future__ import annotations

import httpx
import pytest

from tests.support.altair import Altair
from tests.support.butterbase import Butterbase
from tests.support.kapso import Kapso
from tests.support.projects import Project

CODE = "export default { fetch(request) { return new Response(new URL(request.url).pathname); } }"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        *("/spaces/a/functions/b%2Finvoke", "/spaces/a/functions/b%2finvoke", "/spaces/a/functions/b%2Fasync-invoke"),
        *("/spaces/a%2Ffunctions%2Fb%2Finvoke", "/spaces/a/functions%2Fb/invoke", "/spaces%2Fa/functions/b/invoke"),
        *("/v1/a%2Ffn%2Fb", "/v1/a/fn%2Fb", "/v1%2Fa%2Ffn%2Fb", "/v1/a/functions/b%2Finvoke", "/v1/a/fn/%2F"),
        *("/platform/v1/functions/b%2Finvoke", "/platform%2Fv1/functions/b/invoke", "/api/v1/functions%2Fb/invoke"),
        *("/isolet/v1%2Ffunctions", "/isolet/v1/projects%2Fdefault", "/%2F", "/x%2F%ED%B0%AF", "/f%2Fa/b"),
    ],
)
def test_no_path_with_an_encoded_slash_makes_the_server_fail(
    anonymous: httpx.Client, root: httpx.Client, method: str, path: str
) -> None:
    for client in (anonymous, root):
        reply = client.request(method, path, content=b"{}")
        assert 400 <= reply.status_code < 500, (reply.status_code, reply.text)
        assert isinstance(reply.json(), dict)


def test_an_encoded_slash_chooses_no_route(home: Project, platform: Kapso) -> None:
    function_id = platform.deployed(CODE, "b", slug="b")
    for path in (
        f"/platform/v1/functions/{function_id}%2Finvoke",
        f"/platform/v1/functions%2F{function_id}/invoke",
        f"/platform/v1/functions/{function_id}%2Fdeploy",
        f"/spaces/{home.slug}/functions/b%2Finvoke",
    ):
        assert home.client.post(path, content=b"{}").status_code in (404, 405), path
    for path in (
        f"/isolet/v1/functions/{function_id}%2Fversions",
        f"/v1/{home.slug}/functions/b%2Flogs",
        f"/platform/v1/functions/{function_id}%2Finvocations",
        f"/isolet/v1%2Ffunctions/{function_id}",
    ):
        assert home.client.get(path).status_code == 404, path


def test_a_name_with_a_slash_is_reached_by_its_encoded_form(butterbase: Butterbase) -> None:
    for name in ("a/b", "a/logs", "a/invoke"):
        encoded = name.replace("/", "%2F")
        butterbase.deploy(name, CODE)
        assert butterbase.get(encoded)["name"] == name
        assert butterbase.call(encoded).text == f"/v1/{butterbase.app}/fn/{encoded}"
        assert butterbase.client.get(f"{butterbase.base}/{encoded}/logs").status_code == 200
        assert butterbase.client.delete(f"{butterbase.base}/{encoded}").status_code == 200
        assert butterbase.client.get(f"{butterbase.base}/{encoded}").status_code == 404


def test_a_function_sees_encoded_slashes_below_it_as_they_were_sent(home: Project) -> None:
    altair = Altair(home.client, home.slug)
    name = altair.running("deep", CODE)
    assert altair.invoke(name, "/a%2Fb/c").text == "/a%2Fb/c"


def test_a_key_with_slashes_is_one_key_however_they_are_written(home: Project) -> None:
    base = f"/isolet/v1/projects/{home.slug}/kv"
    assert home.client.put(f"{base}/a%2Fb/c", content=b"v").status_code in (200, 201, 204)
    assert home.client.get(f"{base}/a/b%2Fc").content == b"v"

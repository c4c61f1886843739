"""Names of functions: one line of text, at every door."""

import httpx
import pytest

from tests.support.butterbase import Butterbase
from tests.support.kapso import Kapso
from tests.support.projects import Project

CODE = "export default { fetch() { return new Response('ok'); } }"
ODD = [f"a{char}b" for char in "\r\n\t\x01\x0b\x1b\x7f\x85\x9f\u2028\u2029"] + ["\u4e00\r\nx: y", "end\n"]


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_kapso_refuses_control_characters_in_names(api: Kapso, name: str) -> None:
    made = api.client.post(f"{api.base}/functions", json={"function": {"name": name, "code": CODE, "slug": "evil"}})
    assert (made.status_code, "control characters" in made.json()["error"]) == (422, True)
    assert api.client.get(f"{api.base}/functions").json()["data"] == []

    kept = api.create(CODE, name="Good")
    changed = api.client.patch(f"{api.base}/functions/{kept['id']}", json={"function": {"name": name}})
    assert changed.status_code == 422
    assert api.get(kept["id"])["name"] == "Good"


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_butterbase_refuses_control_characters_in_names(butterbase: Butterbase, name: str) -> None:
    made = butterbase.post(name, CODE)
    assert (made.status_code, "control characters" in made.text) == (400, True)
    assert butterbase.client.get(butterbase.base).json()["functions"] == []


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_the_native_api_refuses_control_characters_in_names(home: Project, platform: Kapso, name: str) -> None:
    function = platform.create(CODE, name="Good")
    changed = home.client.patch(f"/isolet/v1/functions/{function['id']}", json={"name": name})
    assert changed.status_code == 422
    assert platform.get(function["id"])["name"] == "Good"


@pytest.mark.parametrize("name", ["日本", "Καλημέρα 🌍", "a  b", "Größe"])
def test_names_in_any_alphabet_are_taken(platform: Kapso, anonymous: httpx.Client, name: str) -> None:
    assert platform.create(CODE, name=name)["name"] == name

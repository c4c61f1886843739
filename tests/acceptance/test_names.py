"""Names of functions: one line of text, at every door."""

import httpx
import pytest

from tests.support.butterbase import SharedButterbase
from tests.support.kapso import SharedKapso

CODE = "export default { fetch() { return new Response('ok'); } }"
ODD = [f"a{char}b" for char in "\r\n\t\x01\x0b\x1b\x7f\x85\x9f\u2028\u2029"] + ["\u4e00\r\nx: y", "end\n"]


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_kapso_refuses_control_characters_in_names(common: SharedKapso, name: str) -> None:
    before = common.client.get(f"{common.base}/functions").json()
    made = common.client.post(
        f"{common.base}/functions", json={"function": {"name": name, "code": CODE, "slug": "evil"}}
    )
    assert (made.status_code, "control characters" in made.json()["error"]) == (422, True)
    assert common.client.get(f"{common.base}/functions").json() == before

    kept = common.create(CODE, name="Good")
    changed = common.client.patch(f"{common.base}/functions/{kept['id']}", json={"function": {"name": name}})
    assert changed.status_code == 422
    assert common.get(kept["id"])["name"] == "Good"


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_butterbase_refuses_control_characters_in_names(shared: SharedButterbase, name: str) -> None:
    before = shared.client.get(shared.base).json()
    made = shared.post(name, CODE)
    assert (made.status_code, "control characters" in made.text) == (400, True)
    assert shared.client.get(shared.base).json() == before


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_the_native_api_refuses_control_characters_in_names(common_platform: SharedKapso, name: str) -> None:
    function = common_platform.create(CODE, name="Good")
    changed = common_platform.client.patch(f"/isolet/v1/functions/{function['id']}", json={"name": name})
    assert changed.status_code == 422
    assert common_platform.get(function["id"])["name"] == "Good"


@pytest.mark.parametrize("name", ["日本", "Καλημέρα 🌍", "a  b", "Größe"])
def test_names_in_any_alphabet_are_taken(common_platform: SharedKapso, anonymous: httpx.Client, name: str) -> None:
    assert common_platform.create(CODE, name=name)["name"] == name

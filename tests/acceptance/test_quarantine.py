"""A live version that does not start any more."""

from __future__ import annotations

from tests.support.kapso import Kapso
from tests.support.waiting import wait_until

_CODE = """import { env } from "cloudflare:workers";
if (env.BROKEN) throw new Error("the secret is broken");
export default { fetch() { return new Response("works"); } };
"""


def test_a_version_that_stops_starting_is_quarantined_until_a_deploy(kapso: Kapso) -> None:
    function_id = kapso.deployed(_CODE)
    assert kapso.invoke(function_id).text == "works"
    secrets = f"{kapso.base}/functions/{function_id}/secrets"
    assert kapso.client.post(secrets, json={"secret": {"name": "BROKEN", "value": "yes"}}).status_code == 201
    for _ in range(3):
        reply = kapso.invoke(function_id)
        assert reply.status_code == 500
        assert "did not start: Error: the secret is broken" in reply.json()["detail"]
    wait_until(lambda: kapso.get(function_id)["status"] == "error", what="the quarantine")
    reason = kapso.get(function_id)["deploy_error"]["message"]
    assert reason.startswith("The live version does not start: ")
    assert "the secret is broken" in reason
    changed = {"function": {"code": _CODE.replace("BROKEN", "SOMETHING_ELSE")}}
    assert kapso.client.patch(f"{kapso.base}/functions/{function_id}", json=changed).status_code == 200
    function = kapso.deploy(function_id)
    assert (function["status"], function["deploy_error"]) == ("deployed", None)
    assert kapso.invoke(function_id).text == "works"


def test_a_version_that_does_not_start_is_tried_ever_less_often(kapso: Kapso) -> None:
    function_id = kapso.deployed(_CODE)
    secrets = f"{kapso.base}/functions/{function_id}/secrets"
    assert kapso.client.post(secrets, json={"secret": {"name": "BROKEN", "value": "yes"}}).status_code == 201

    def refused() -> str:
        detail = str(kapso.invoke(function_id).json()["detail"])
        return detail if "in a row" in detail else ""

    found = wait_until(refused, what="a call that is refused without a start")
    assert "times in a row (Error: the secret is broken); the next try is in" in found

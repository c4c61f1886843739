"""A function that handles due times of schedules alone: it deploys through every API, and has nothing to be called."""

import pytest

from tests.support.altair import Altair
from tests.support.butterbase import Butterbase
from tests.support.every_door import DOORS, behind_all_doors
from tests.support.kapso import Kapso
from tests.support.projects import Project

SCHEDULED = {
    "js": "export default { async scheduled(controller, env, ctx) { console.log(controller.cron); } };",
    "ts": "const handlers: { scheduled(c: { cron: string }): void } = { scheduled(c) {} };\nexport default handlers;",
}
TEXT = "This function has no HTTP handler"
BODIES = {
    "kapso": {"error": TEXT},
    "kapso older": {"error": TEXT},
    "butterbase": {"error": TEXT},
    "butterbase test call": {"error": TEXT},
    "altair": {"error": {"status": 404, "message": TEXT}},
}


@pytest.mark.parametrize("language", SCHEDULED)
def test_a_call_through_any_door_is_404_in_its_dialect(butterbase: Butterbase, language: str) -> None:
    doors = behind_all_doors(butterbase, SCHEDULED[language])

    for door in DOORS:
        reply = doors.call(door, json={})
        assert (reply.status_code, reply.json()) == (404, BODIES[door]), door
        assert reply.headers["x-invocation-id"]
        hostile = doors.call(door, content=b"\x00\xff\r\n" * 1000, headers={"x-isolet-call": '{"event":"scheduled"}'})
        assert hostile.status_code in (404, 422, 400), door
    assert doors.call("butterbase", "HEAD").status_code == 404
    recorded = butterbase.client.get("/isolet/v1/invocations").json()["data"]
    assert {call["status"] for call in recorded} == {"failed"}


def test_it_deploys_through_the_other_apis_too(platform: Kapso, home: Project) -> None:
    function = platform.deploy(platform.create(SCHEDULED["js"])["id"])
    altair = Altair(home.client, home.slug)
    name = altair.running("due", SCHEDULED["ts"])

    assert (function["status"], function["deploy_error"]) == ("deployed", None)
    assert platform.invoke(function["id"], {}).status_code == 404
    failed = altair.ended(altair.start(name))
    assert (failed["status"], failed["error"]) == ("failed", TEXT)

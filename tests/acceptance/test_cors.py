"""Pages of other origins: a listed origin is the project's, all others are the function's where it has rules."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.butterbase import Butterbase, SharedButterbase
from tests.support.every_door import PUBLIC, Doors, behind_all_doors
from tests.support.kapso import Kapso
from tests.support.projects import Project
from tests.support.waiting import wait_until

APP, EVIL = "https://app.test", "https://evil.test"
# Each lets one page in, with credentials, and refuses all others without a word.
OWN = {
    "by status": """export default { fetch(r) {
      const ok = r.headers.get("origin") === "https://app.test";
      return new Response(null, { status: ok ? 204 : 403, headers: ok ?
        { "access-control-allow-origin": "https://app.test", "access-control-allow-credentials": "true" } : {} });
    } }""",
    "by silence": """const ALLOWED = ["https://app.test"];
    export default { async fetch(request) {
      const reply = new Response("data");
      const origin = request.headers.get("Origin");
      if (ALLOWED.includes(origin)) {
        reply.headers.set("Access-Control-Allow-Origin", origin);
        reply.headers.set("Access-Control-Allow-Credentials", "true");
      }
      return reply;
    } }""",
    "in TypeScript": """interface Rules { [name: string]: string }
    const rules = (origin: string | null): Rules => origin === "https://app.test"
      ? { "ACCESS-CONTROL-ALLOW-ORIGIN": origin, "ACCESS-CONTROL-ALLOW-CREDENTIALS": "true" } : {};
    export default async function handler(request: Request): Promise<Response> {
      return Response.json({ a: 1 }, { headers: rules(request.headers.get("origin")) });
    }""",
}
PLAIN = "export default { fetch: (request) => new Response(request.method) }"
OPTIONS_ONLY = """export default { fetch(request) {
  if (request.method === "OPTIONS") return new Response("refused", { status: 403 });
  return new Response("ok");
} }"""
GRANTS = ("access-control-allow-origin", "access-control-allow-credentials")


def ask(doors: Doors, door: str, origin: str, method: str = "POST", **options: Any) -> httpx.Response:
    """As a browser does, without any key."""
    headers = {"Origin": origin, **options.pop("headers", {})}
    return doors.public.request(method, doors.path(door), headers=headers, **options)


def preflight(doors: Doors, door: str, origin: str) -> httpx.Response:
    return ask(doors, door, origin, "OPTIONS", headers={"Access-Control-Request-Method": "DELETE"})


def grants(reply: httpx.Response) -> tuple[str | None, ...]:
    return tuple(reply.headers.get(name) for name in GRANTS)


@pytest.mark.parametrize("door", PUBLIC)
@pytest.mark.parametrize("how", OWN)
def test_a_function_with_rules_of_its_own_decides_where_no_list_is_set(
    shared: SharedButterbase, how: str, door: str
) -> None:
    doors = behind_all_doors(shared, OWN[how], how)
    for reply in (preflight(doors, door, EVIL), ask(doors, door, EVIL), ask(doors, door, "http://localhost:3000")):
        assert grants(reply) == (None, None)
    for reply in (preflight(doors, door, APP), ask(doors, door, APP)):
        assert reply.status_code in (200, 204)
        assert grants(reply) == (APP, "true")
        assert len(reply.headers.get_list("access-control-allow-origin")) == 1


def test_it_decides_at_its_public_address_too(shared: SharedButterbase) -> None:
    doors = behind_all_doors(shared, OWN["by silence"], "by silence")
    changed = shared.client.patch(f"/isolet/v1/functions/{doors.function_id}", json={"access": "public"})
    assert changed.status_code == 200, changed.text
    path = f"/f/{shared.app}/by%20silence"
    wanted = {"Access-Control-Request-Method": "DELETE"}
    for origin, granted in ((EVIL, (None, None)), (APP, (APP, "true"))):
        for method, more in (("GET", {}), ("OPTIONS", wanted)):
            reply = doors.public.request(method, path, headers={"Origin": origin, **more})
            assert (reply.status_code, grants(reply)) == (200, granted), (origin, method)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_its_refusal_stands_whatever_the_method(shared: SharedButterbase, method: str) -> None:
    doors = behind_all_doors(shared, OWN["by silence"], "by silence")
    assert grants(ask(doors, "butterbase", EVIL, method)) == (None, None)
    assert grants(ask(doors, "butterbase", APP, method)) == (APP, "true")


@pytest.mark.parametrize("door", PUBLIC)
def test_a_preflight_reaches_a_function_that_answers_options(shared: SharedButterbase, door: str) -> None:
    doors = behind_all_doors(shared, OPTIONS_ONLY, "refusing")
    refused = preflight(doors, door, EVIL)
    assert (refused.status_code, refused.text, grants(refused)) == (403, "refused", (None, None))


def test_a_new_version_with_rules_counts_at_once(butterbase: Butterbase) -> None:
    doors = behind_all_doors(butterbase, PLAIN)
    assert grants(ask(doors, "butterbase", EVIL)) == ("*", None)
    butterbase.deploy("behind", OWN["by silence"])
    assert grants(ask(doors, "butterbase", EVIL)) == (None, None)
    butterbase.deploy("behind", PLAIN)
    assert grants(ask(doors, "butterbase", EVIL)) == ("*", None)


def test_a_function_without_rules_may_be_read_by_default_but_is_not_run_by_preflights(shared: SharedButterbase) -> None:
    doors = behind_all_doors(shared, PLAIN, "plain")
    answered = preflight(doors, "butterbase", EVIL)
    assert (answered.status_code, grants(answered)) == (204, ("*", None))
    called = ask(doors, "butterbase", EVIL)
    assert (called.text, grants(called)) == ("POST", ("*", None))
    wait_until(lambda: len(shared.logs("plain")) == 1, what="the call is recorded")
    kapso = preflight(doors, "kapso", EVIL)
    assert (kapso.status_code, grants(kapso), grants(ask(doors, "kapso", EVIL))) == (405, (None, None), (None, None))


def test_a_reply_that_differs_by_origin_is_left_as_it_is(shared: SharedButterbase) -> None:
    code = 'export default { fetch: () => new Response("", { headers: { vary: "Accept, origin" } }) }'
    assert grants(ask(behind_all_doors(shared, code, "varying"), "butterbase", EVIL)) == (None, None)


def test_a_reply_for_any_page_is_told_from_that_for_a_listed_one(butterbase: Butterbase, root: httpx.Client) -> None:
    doors = behind_all_doors(butterbase, PLAIN)
    root.patch(f"/isolet/v1/projects/{butterbase.app}", json={"allowed_origins": ["*", APP]})
    for origin, granted in ((EVIL, ("*", None)), (APP, (APP, "true"))):
        reply = ask(doors, "butterbase", origin)
        assert (grants(reply), reply.headers["vary"]) == (granted, "Origin")


@pytest.mark.parametrize("door", PUBLIC)
def test_a_listed_origin_is_the_projects_and_others_are_the_functions(
    butterbase: Butterbase, root: httpx.Client, door: str
) -> None:
    doors = behind_all_doors(butterbase, PLAIN)
    listed = "https://listed.test"
    root.patch(f"/isolet/v1/projects/{butterbase.app}", json={"allowed_origins": [listed]})
    answered = preflight(doors, door, listed)
    assert (answered.status_code, grants(answered)) == (204, (listed, "true"))
    # A cache must not give a page what it kept for others.
    without = doors.public.post(doors.path(door))
    assert [reply.headers["vary"] for reply in (without, ask(doors, door, EVIL), answered)] == ["Origin"] * 3
    assert grants(ask(doors, door, listed)) == (listed, "true")
    for origin in (EVIL, "null", "*", listed + ":8443", listed.upper()):
        assert grants(preflight(doors, door, origin)) == (None, None)
        assert grants(ask(doors, door, origin)) == (None, None)
    root.patch(f"/isolet/v1/projects/{butterbase.app}", json={"allowed_origins": []})
    assert grants(ask(doors, door, listed)) == (None, None)


def test_a_preflight_never_runs_a_function_that_wants_credentials(shared: SharedButterbase) -> None:
    shared.deploy("closed", OWN["by silence"], auth="required")
    doors = Doors(app=shared.app, key=shared.key, function_id="", public=shared.public, name="closed")
    assert preflight(doors, "butterbase", APP).status_code == 204
    assert (ask(doors, "butterbase", EVIL).status_code, shared.logs("closed")) == (401, [])
    good = {"Authorization": f"Bearer {shared.key}"}
    assert grants(ask(doors, "butterbase", APP, headers=good)) == (APP, "true")
    assert grants(ask(doors, "butterbase", EVIL, headers=good)) == (None, None)


def test_what_is_wrapped_may_be_read_as_the_reply_itself_may(
    home: Project, anonymous: httpx.Client, root: httpx.Client
) -> None:
    older = Kapso(home.client, "/api/v1")
    wrapped = {"invoke_response_mode": "wrapped", "public_endpoint": True}
    listed = "https://listed.test"
    root.patch(f"/isolet/v1/projects/{home.slug}", json={"allowed_origins": [listed]})
    for code, origin in ((OWN["by silence"], APP), (PLAIN, listed)):
        path = f"/platform/v1/functions/{older.deployed(code, **wrapped)}/invoke"
        for asked, granted in ((origin, (origin, "true")), (EVIL, (None, None))):
            reply = anonymous.post(path, headers={"Origin": asked})
            assert (list(reply.json()), grants(reply)) == (["data"], granted)


def test_kapsos_private_functions_answer_no_page(butterbase: Butterbase, root: httpx.Client) -> None:
    doors = behind_all_doors(butterbase, OWN["by silence"])
    root.patch(f"/isolet/v1/projects/{butterbase.app}", json={"allowed_origins": [APP]})
    body = {"function": {"public_endpoint": False}}
    assert butterbase.client.patch(f"/platform/v1/functions/{doors.function_id}", json=body).status_code == 200
    for reply in (preflight(doors, "kapso", APP), ask(doors, "kapso", APP)):
        assert (reply.status_code, grants(reply)) == (404, (None, None))

"""Deploys of the Kapso API. The numbers are the items of part 7 of the wire facts."""

from __future__ import annotations

import uuid

import pytest

from tests.support.kapso import Kapso, error_of

HELLO = 'async function handler() { return new Response("hello"); }'
BROKEN = 'async function handler() {\n  return new Response("broken";\n}'


def change(api: Kapso, function_id: str, code: str) -> None:
    reply = api.client.patch(f"{api.base}/functions/{function_id}", json={"function": {"code": code}})
    assert reply.status_code == 200


@pytest.mark.parametrize(
    "options",
    [{}, {"json": {}}, {"content": b"", "headers": {"content-type": "application/json"}}],
)
def test_a_deploy_is_accepted_with_and_without_a_body(platform: Kapso, options: dict[str, object]) -> None:
    """Items 32, 33."""
    function_id = platform.create(HELLO)["id"]

    reply = platform.client.post(f"/platform/v1/functions/{function_id}/deploy", **options)

    facts = {"message": "Function deployment initiated", "function_id": function_id, "status": "deploying"}
    assert (reply.status_code, reply.json()) == (202, {**facts, "data": facts})


def test_the_older_base_says_it_in_its_own_words(older: Kapso) -> None:
    """Item 34."""
    function_id = older.create(HELLO)["id"]

    reply = older.client.post(f"/api/v1/functions/{function_id}/deploy").json()

    assert (reply["message"], reply["function_id"]) == ("Deployment started", function_id)
    assert reply["status"] in ("draft", "deployed", "error")


def test_polling_shows_deployed_with_time_and_version(api: Kapso) -> None:
    """Items 35, 36."""
    function_id = api.create(HELLO)["id"]

    first, second = api.deploy_and_poll(function_id), api.deploy_and_poll(function_id)

    assert (first["status"], first["version"], second["version"]) == ("deployed", 1, 2)
    assert first["created_at"] < first["last_deployed_at"] < second["last_deployed_at"]
    assert second["lock_version"] == first["lock_version"] == 0


def test_a_syntax_error_ends_in_error_with_its_place(api: Kapso) -> None:
    """Item 37, and the design's section 9."""
    function = api.deploy_and_poll(api.create(BROKEN)["id"])

    failure = function["deploy_error"]
    assert (function["status"], function["version"], function["last_deployed_at"]) == ("error", None, None)
    assert (failure["line"], failure["column"], failure["text"]) == (2, 31, '  return new Response("broken";')
    assert failure["message"].startswith("SyntaxError: ")
    assert failure["at"] >= function["created_at"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("const answer = 42;", "handler"),
        ("export const answer = 42;", "handler"),
        ("export default 42;", "handler"),
        ("export default { queue() {} };", "handler"),
        ("export async function scheduled() {}", "handler"),
        ("export default class { fetch() {} }", "a default class must extend `WorkerEntrypoint`"),
        ('import x from "./other.js"; export default () => new Response(x);', "./other.js"),
        ('throw new Error("not today"); export default () => new Response("");', "not today"),
        ("missing(); async function handler() {}", "missing is not defined"),
        ('import x from "no-such-package"; export default () => new Response(x);', "no-such-package"),
    ],
)
def test_code_that_cannot_serve_ends_in_error_with_the_reason(platform: Kapso, code: str, told: str) -> None:
    """Item 37, and the design's section 9."""
    function = platform.deploy_and_poll(platform.create(code)["id"])

    assert function["status"] == "error"
    assert told in function["deploy_error"]["message"]
    assert "/work" not in str(function["deploy_error"])
    assert platform.invoke(function["id"], {}).status_code == 422


def test_typescript_that_throws_as_it_loads_is_told_with_the_authors_line(api: Kapso) -> None:
    """The design's section 9."""
    code = "interface A {\n  a: number;\n}\ntype B = {\n  b: A;\n};\n\nthrow new Error('no');\n"
    function = api.deploy_and_poll(api.create(code + "async function handler(b: B) {}\n")["id"])

    failure = function["deploy_error"]
    assert failure["message"] == "Error: no"
    assert (failure["line"], failure["column"], failure["text"]) == (8, 7, "throw new Error('no');")


@pytest.mark.parametrize("taken", ["new Array(1e6).fill(0.5)", "new Uint8Array(1e7).fill(1)"], ids=["heap", "buffers"])
def test_code_that_takes_too_much_memory_as_it_loads_is_told_the_limit(platform: Kapso, taken: str) -> None:
    """The design's section 9."""
    code = f"let kept = []; while (true) kept = [kept, {taken}];\nasync function handler() {{}}"
    function = platform.create(code)
    changed = platform.client.patch(f"/isolet/v1/functions/{function['id']}", json={"memory_limit_mb": 64})
    assert changed.status_code == 200, changed.text

    failure = platform.deploy_and_poll(function["id"])["deploy_error"]

    assert failure["message"] == "the code exceeded its memory limit of 64 MB as it loaded"


def test_a_failed_redeploy_leaves_the_older_version_serving(api: Kapso) -> None:
    """The design's section 9."""
    function_id = api.deployed(HELLO)
    before = api.get(function_id)
    change(api, function_id, BROKEN)

    failed = api.deploy_and_poll(function_id)

    assert (failed["status"], failed["version"]) == ("error", 1)
    assert failed["last_deployed_at"] == before["last_deployed_at"]
    assert failed["deploy_error"]["line"] == 2
    assert api.invoke(function_id, {}).text == "hello"

    change(api, function_id, HELLO.replace("hello", "mended"))
    mended = api.deploy_and_poll(function_id)
    assert (mended["status"], mended["version"], mended["deploy_error"]) == ("deployed", 2, None)
    assert api.invoke(function_id, {}).text == "mended"


def test_supabase_functions_are_refused(api: Kapso) -> None:
    """Items 38, 84."""
    function_id = api.create("Deno.serve(async (req) => new Response());", function_type="supabase_function")["id"]

    reply = api.client.post(f"{api.base}/functions/{function_id}/deploy")

    assert (reply.status_code, error_of(reply)) == (422, "Supabase project required for Supabase functions")
    assert api.get(function_id)["status"] == "draft"


def test_fresh_code_serves_the_first_call(api: Kapso) -> None:
    """Item 39."""
    function_id = api.deployed(HELLO)
    answers = []
    for number in range(5):
        change(api, function_id, HELLO.replace("hello", f"answer {number}"))
        assert api.deploy_and_poll(function_id)["status"] == "deployed"
        answers.append(api.invoke(function_id, {}).text)

    assert answers == [f"answer {number}" for number in range(5)]


def test_deploying_a_missing_function_is_404(api: Kapso) -> None:
    """Item 41."""
    reply = api.client.post(f"{api.base}/functions/{uuid.uuid4()}/deploy")

    assert (reply.status_code, error_of(reply)) == (404, "Function not found")


def test_deploys_that_overlap_end_with_the_last_code(api: Kapso) -> None:
    function_id = api.create(HELLO)["id"]
    for number in range(3):
        change(api, function_id, HELLO.replace("hello", f"number {number}"))
        assert api.client.post(f"{api.base}/functions/{function_id}/deploy").status_code == 202

    ended = api.deploy_and_poll(function_id)

    assert (ended["status"], ended["version"]) == ("deployed", 4)
    assert api.invoke(function_id, {}).text == "number 2"

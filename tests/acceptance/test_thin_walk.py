"""The whole server in one walk: create, deploy, call."""

from tests.support.kapso import Kapso


def test_a_function_is_created_deployed_and_called(kapso: Kapso) -> None:
    code = "async function handler(request) { const { n } = await request.json(); return Response.json(n + 1); }"
    function_id = kapso.deployed(code)

    reply = kapso.invoke(function_id, {"n": 41})

    assert (reply.status_code, reply.json()) == (200, 42)
    assert [item["id"] for item in kapso.invocations(function_id)] == [reply.headers["x-invocation-id"]]

"""The status of a call that was ended: what its caller got in Kapso's list, what happened in the native record."""

from __future__ import annotations

import pytest

from tests.support.kapso import Kapso
from tests.support.limits import limited

WAITS = "async function handler() { await scheduler.wait(100_000); return new Response('late'); }"
SPINS = "async function handler() { for (;;) {} }"


@pytest.mark.parametrize(
    ("code", "limits", "status", "outcome"),
    [(WAITS, {"timeout_ms": 1000}, 504, "timeout"), (SPINS, {"cpu_ms": 500, "timeout_ms": 120_000}, 502, "crashed")],
    ids=["timeout", "kill"],
)
def test_each_record_says_the_status_of_its_api(
    kapso: Kapso, code: str, limits: dict[str, int], status: int, outcome: str
) -> None:
    function_id = limited(kapso, code, **limits)
    reply = kapso.invoke(function_id)
    assert reply.status_code == 500
    (listed,) = kapso.invocations(function_id, status="failed")
    assert (listed["id"], listed["status_code"]) == (reply.headers["x-invocation-id"], 500)
    native = kapso.client.get(f"/isolet/v1/invocations/{listed['id']}").json()
    assert (native["status_code"], native["outcome"]) == (status, outcome)

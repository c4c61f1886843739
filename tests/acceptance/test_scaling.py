"""Concurrency, queues, more instances and fewer, and the budget of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.kapso import Kapso
from tests.support.limits import function_instances, limited
from tests.support.server import Server
from tests.support.waiting import wait_until

# One call holds the others up until it is let go, whichever instance that is.
_WAITS = """async function handler(request) {
    await scheduler.wait(await request.json());
    return new Response("done");
}"""
_WORKS = """async function handler() {
    let sum = 0;
    for (let i = 0; i < 3e7; i++) sum += i;
    return new Response(String(sum > 0));
}"""


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with room for two instances, where calls queue for two seconds and idle instances soon go."""
    folder = tmp_path_factory.mktemp("tight") / "data"
    with Server(folder, max_instances=2, queue_timeout_s=2, idle_timeout_s=5) as running:
        yield running


@pytest.fixture(scope="module")
def tight_kapso(tight: Server) -> Iterator[Kapso]:
    with tight.client() as client:
        yield Kapso(client)


def _in_parallel(kapso: Kapso, function_id: str, bodies: list[int]) -> list[httpx.Response]:
    with ThreadPoolExecutor(len(bodies)) as threads:
        return list(threads.map(lambda body: kapso.invoke(function_id, body), bodies))


def test_a_call_over_the_concurrency_waits_for_its_turn(tight_kapso: Kapso) -> None:
    function_id = limited(tight_kapso, _WAITS, concurrency=1, max_instances=1)
    replies = _in_parallel(tight_kapso, function_id, [100, 100, 100])
    assert [reply.status_code for reply in replies] == [200, 200, 200]


def test_a_call_that_waited_too_long_is_told_to_come_back(tight_kapso: Kapso) -> None:
    function_id = limited(tight_kapso, _WAITS, concurrency=2, max_instances=1)
    replies = _in_parallel(tight_kapso, function_id, [6000, 6000, 6000])
    assert sorted(reply.status_code for reply in replies) == [200, 200, 429]
    (refused,) = (reply for reply in replies if reply.status_code == 429)
    assert refused.headers["retry-after"] == "1"
    assert "x-invocation-id" not in refused.headers
    assert "runs as many calls as it may" in refused.json()["error"]


def test_the_least_recently_used_idle_instance_makes_room(tight: Server, tight_kapso: Kapso) -> None:
    first, second = limited(tight_kapso, _WAITS), limited(tight_kapso, _WAITS)
    before = function_instances(tight)
    assert tight_kapso.invoke(first, 0).text == "done"
    third = limited(tight_kapso, _WAITS)
    wait_until(lambda: len(function_instances(tight)) <= 2, what="room for two")
    # The one that was called last is still there, and answers without a start.
    kept = function_instances(tight) & before
    assert tight_kapso.invoke(first, 0).text == "done"
    assert kept <= function_instances(tight)
    assert tight_kapso.invoke(third, 0).text == tight_kapso.invoke(second, 0).text == "done"


def test_a_machine_with_every_instance_at_work_says_so(tight: Server, tight_kapso: Kapso) -> None:
    ids = [limited(tight_kapso, _WAITS) for _ in range(3)]
    with ThreadPoolExecutor() as threads:
        replies = list(threads.map(lambda function_id: tight_kapso.invoke(function_id, 6000), ids))
    assert sorted(reply.status_code for reply in replies) == [200, 200, 429]
    (refused,) = (reply for reply in replies if reply.status_code == 429)
    assert refused.headers["retry-after"] == "5"
    assert "x-invocation-id" not in refused.headers
    assert "no room" in refused.json()["error"]


def test_a_busy_function_gets_more_instances_and_loses_them_when_idle(tight: Server, tight_kapso: Kapso) -> None:
    function_id = limited(tight_kapso, _WORKS, max_instances=2)
    most = 0
    with ThreadPoolExecutor(8) as threads:

        def more() -> bool:
            nonlocal most
            replies = threads.map(lambda _: tight_kapso.invoke(function_id).status_code, range(16))
            assert set(replies) == {200}
            most = max(most, len(function_instances(tight)))
            return most == 2

        assert wait_until(more, what="a second instance")
    wait_until(lambda: not function_instances(tight), what="the end of idle instances")
    assert tight_kapso.invoke(function_id).text == "true"

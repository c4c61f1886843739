import json

from isolet.api.kapso.executions import started_reply
from isolet.flows.bursts import Burst


def test_too_many_starts_in_a_second_are_told_as_the_api_does() -> None:
    reply = started_reply(Burst(limit=5, remaining=0, allowed=False), {"data": {"id": "none"}})
    assert reply.status_code == 429
    assert {name: reply.headers[name] for name in reply.headers if name.startswith(("x-", "retry"))} == {
        "x-burst-ratelimit-limit": "5",
        "x-burst-ratelimit-remaining": "0",
        "retry-after": "1",
    }
    assert json.loads(bytes(reply.body)) == {
        "error": "Burst rate limit exceeded",
        "message": "At most 5 runs of a workflow can be started in a second with one key",
    }

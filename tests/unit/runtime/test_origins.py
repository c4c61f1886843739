from __future__ import annotations

from isolet.domain.origins import Origin
from isolet.ids import InvocationId
from isolet.runtime.origins import Origins


def test_a_call_is_known_while_it_runs_and_for_a_while_after() -> None:
    origins = Origins()
    origins.begin(InvocationId("long"), Origin(depth=2))
    for number in range(10_000):
        origins.begin(InvocationId(f"{number}"), Origin(depth=1))
        origins.end(InvocationId(f"{number}"))
    assert origins.find("long") == Origin(depth=2)
    assert origins.find("9999") == Origin(depth=1)
    known = [origins.find(f"{number}") is not None for number in range(10_000)]
    assert 4_096 <= sum(known) <= 2 * 4_096
    assert all(known[-4_096:])


def test_a_call_that_never_was_is_unknown() -> None:
    origins = Origins()
    origins.end(InvocationId("a"))
    assert (origins.find("a"), origins.find("")) == (None, None)


def test_the_address_is_the_one_that_the_server_told() -> None:
    told = [(b"x-forwarded-for", b"1.1.1.1"), (b"cf-connecting-ip", b"203.0.113.7")]
    assert (Origin(told=told).address, Origin().address) == ("203.0.113.7", None)

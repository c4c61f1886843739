"""How many requests of a project may be open."""

from __future__ import annotations

from typing import Any

import pytest

from isolet.access import rates
from isolet.access.open_requests import OpenRequests
from isolet.errors import TooManyRequests
from isolet.ids import ProjectId
from isolet.wire.exchange import ON_END

BIG, SMALL = ProjectId("big"), ProjectId("small")


def a_request(opening: OpenRequests, *projects: ProjectId | None) -> dict[str, Any]:
    """The scope of a request that its door counts for these, one after the other."""
    scope: dict[str, Any] = {ON_END: []}
    rates.opened(scope, opening)
    for project in projects:
        rates.count(scope, project)
    return scope


def test_a_project_has_three_quarters_of_the_connections_and_others_the_rest() -> None:
    opening = OpenRequests(4)
    open_ones = [a_request(opening, BIG, BIG) for _ in range(3)]
    with pytest.raises(TooManyRequests, match=r"^The project has 3 requests open, its share") as refused:
        a_request(opening, BIG)
    assert refused.value.retry_after_s > 0
    a_request(opening, SMALL)
    a_request(opening, None)
    (ended,) = open_ones[0][ON_END]
    ended()
    assert a_request(opening, BIG)[ON_END]
    with pytest.raises(TooManyRequests):
        a_request(opening, BIG)


def test_a_request_that_is_open_before_it_is_counted_is_open_once() -> None:
    scope = a_request(OpenRequests(4))
    rates.hold(scope, BIG)
    rates.count(scope, BIG)
    assert len(scope[ON_END]) == 1


def test_without_a_number_a_project_has_as_many_as_it_likes() -> None:
    opening = OpenRequests(None)
    for _ in range(100):
        a_request(opening, BIG)

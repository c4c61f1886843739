from contextvars import copy_context

import pytest

from isolet.access import rates as rate_rules
from isolet.access.rates import Allowance, Rates
from isolet.domain.projects import Plan, Project
from isolet.errors import RateExceeded
from isolet.ids import ProjectId
from isolet.routing.routes import Routes
from isolet.threads import account


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


A, B = ProjectId("a"), ProjectId("b")


def rates(seconds: Seconds, plan: Plan) -> Rates:
    routes = Routes("root")
    projects = [Project(id=id_, slug=id_, name=id_, plan=plan) for id_ in (A, B)]
    routes.load(functions=[], projects=projects, keys=[])
    return Rates(routes, {Plan.FREE: 2}, clock=seconds)


def test_a_project_may_be_asked_as_often_as_its_plan_says_and_again_a_minute_later(seconds: Seconds) -> None:
    limited = rates(seconds, Plan.FREE)
    taken = [limited.take(A) for _ in range(3)]
    assert taken == [
        Allowance(limit=2, remaining=1, allowed=True),
        Allowance(limit=2, remaining=0, allowed=True),
        Allowance(limit=2, remaining=0, allowed=False),
    ]
    seconds.now = 59.9
    assert limited.take(A) == Allowance(limit=2, remaining=0, allowed=False)
    seconds.now = 60
    assert limited.take(A) == Allowance(limit=2, remaining=1, allowed=True)


def test_projects_are_counted_apart(seconds: Seconds) -> None:
    limited = rates(seconds, Plan.FREE)
    for project in (A, B):
        assert limited.take(project) == Allowance(limit=2, remaining=1, allowed=True)


@pytest.mark.parametrize("plan", [Plan.UNLIMITED, Plan.PRO])
def test_a_plan_without_a_limit_has_none(seconds: Seconds, plan: Plan) -> None:
    unlimited = rates(seconds, plan)
    assert unlimited.any is (plan is not Plan.UNLIMITED)
    assert unlimited.take(A) is None


def test_a_request_counts_once_for_the_first_project_that_is_found(seconds: Seconds) -> None:
    limited = rates(seconds, Plan.FREE)
    for _ in range(2):
        scope: dict[str, object] = {}
        rate_rules.begin(scope, limited)
        rate_rules.count(scope, None)
        assert rate_rules.headers_of(scope) == []
        for project in (A, A, B):
            rate_rules.count(scope, project)
    assert rate_rules.headers_of(scope) == [(b"x-ratelimit-limit", b"2"), (b"x-ratelimit-remaining", b"0")]
    assert limited.take(B) == Allowance(limit=2, remaining=1, allowed=True)
    rate_rules.begin(scope, limited)
    with pytest.raises(RateExceeded, match=r"^Rate limit exceeded: 2 requests a minute$"):
        rate_rules.count(scope, A)


def test_where_nothing_is_counted_counting_does_nothing() -> None:
    rate_rules.count({}, A)
    assert rate_rules.headers_of({}) == []


def test_what_a_counted_request_asks_of_threads_is_its_projects() -> None:
    found = []

    def ask(*projects: ProjectId | None) -> None:
        for project in projects:
            rate_rules.count({}, project)
            found.append(account())

    copy_context().run(ask, A, B, None)
    assert found == [A, B, ""]

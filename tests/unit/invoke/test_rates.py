import pytest

from isolet.domain.access import Principal, Role
from isolet.domain.projects import Plan, Project
from isolet.ids import KeyId, ProjectId
from isolet.invoke.rates import Allowance, Rates
from isolet.invoke.routes import Routes


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


def rates(seconds: Seconds, plan: Plan) -> Rates:
    routes = Routes("root")
    routes.load(functions=[], projects=[Project(id=ProjectId("p"), slug="p", name="p", plan=plan)], keys=[])
    return Rates(routes, {Plan.FREE: 2}, clock=seconds)


def key(name: str) -> Principal:
    return Principal(role=Role.INVOKE, key_id=KeyId(name), project_id=ProjectId("p"))


def test_a_key_may_ask_as_often_as_its_plan_says_and_again_a_minute_later(seconds: Seconds) -> None:
    limited = rates(seconds, Plan.FREE)
    taken = [limited.take(key("a")) for _ in range(3)]
    assert taken == [
        Allowance(limit=2, remaining=1, allowed=True),
        Allowance(limit=2, remaining=0, allowed=True),
        Allowance(limit=2, remaining=0, allowed=False),
    ]
    seconds.now = 59.9
    assert limited.take(key("a")) == Allowance(limit=2, remaining=0, allowed=False)
    seconds.now = 60
    assert limited.take(key("a")) == Allowance(limit=2, remaining=1, allowed=True)


def test_keys_are_counted_apart(seconds: Seconds) -> None:
    limited = rates(seconds, Plan.FREE)
    for name in ("a", "b"):
        assert limited.take(key(name)) == Allowance(limit=2, remaining=1, allowed=True)


@pytest.mark.parametrize("plan", [Plan.UNLIMITED, Plan.PRO])
def test_a_plan_without_a_limit_has_none(seconds: Seconds, plan: Plan) -> None:
    unlimited = rates(seconds, plan)
    assert unlimited.any is (plan is not Plan.UNLIMITED)
    assert unlimited.take(key("a")) is None


def test_the_root_key_has_no_limit(seconds: Seconds) -> None:
    assert rates(seconds, Plan.FREE).take(Principal(role=Role.ADMIN)) is None

from isolet.domain.projects import Plan
from isolet.flows.bursts import Burst, Bursts


def test_each_key_and_workflow_has_its_own_second() -> None:
    now = [10.9]
    bursts = Bursts(lambda: now[0])
    taken = [bursts.take(Plan.FREE, "key", "one") for _ in range(6)]
    assert [burst.remaining for burst in taken] == [4, 3, 2, 1, 0, 0]
    assert [burst.allowed for burst in taken] == [True] * 5 + [False]
    assert bursts.take(Plan.FREE, None, "one").allowed
    assert bursts.take(Plan.FREE, "key", "two").allowed
    now[0] = 11.0
    assert bursts.take(Plan.PRO, "key", "one") == Burst(limit=15, remaining=14, allowed=True)

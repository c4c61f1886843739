"""Counts for monitoring: whose they are, and that their number is bounded."""

from isolet.domain.invocations import Door, Invocation, Kind
from isolet.ids import FunctionId, InvocationId, ProjectId
from isolet.observe.counters import OTHER, Counters


def call_of(function_id: str, project_id: str = "p") -> Invocation:
    return Invocation(
        id=InvocationId("i"),
        project_id=ProjectId(project_id),
        function_id=FunctionId(function_id),
        function_name="name",
        version=1,
        door=Door.KAPSO,
        kind=Kind.SYNC,
        method="POST",
        path="/",
        started_at_ms=0,
    )


def test_calls_that_are_counted_after_their_function_is_gone_take_no_place() -> None:
    figures, there = Counters(), {"a"}
    figures.add([call_of("a"), call_of("b")], there.__contains__)
    assert set(figures.durations) == {("p", "a"), (OTHER, OTHER)}
    there.clear()
    figures.forget("a")
    figures.add([call_of("a")], there.__contains__)
    assert set(figures.durations) == {(OTHER, OTHER)}
    assert sum(figures.durations[OTHER, OTHER].counts) == 2


def test_beyond_five_hundred_functions_share_a_place() -> None:
    figures = Counters()
    figures.add(call_of(str(number)) for number in range(600))
    assert len(figures.durations) == 501
    assert figures.calls[OTHER, OTHER, "kapso", "ok"] == 100


def test_the_project_with_most_functions_shares_their_places_with_one_that_has_few() -> None:
    figures = Counters()
    figures.add(call_of(str(number)) for number in range(600))
    figures.add([call_of("ours", "small"), call_of("ours", "small"), call_of("0"), call_of("599")])
    assert sum(figures.durations["small", "ours"].counts) == 2
    assert len(figures.durations) == 501
    assert sum(sum(histogram.counts) for histogram in figures.durations.values()) == 604
    assert sum(figures.calls.values()) == 604
    figures.forget("ours")
    figures.add([call_of("599")])
    assert sum(figures.durations["p", "599"].counts) == 1

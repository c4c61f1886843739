"""Counts for monitoring: whose they are, and that their number is bounded."""

from isolet.domain.invocations import Door, Invocation, Kind
from isolet.ids import FunctionId, InvocationId, ProjectId
from isolet.observe.counters import OTHER, Counters


def call_of(function_id: str) -> Invocation:
    return Invocation(
        id=InvocationId("i"),
        project_id=ProjectId("p"),
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

"""Lines of failed and refused calls in the server's log."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from isolet.domain.invocations import Door, Invocation, Outcome
from isolet.ids import FunctionId, InvocationId, ProjectId
from isolet.observe.failures import LINES_A_MINUTE, Failures

ONE, OTHER = ProjectId("one"), ProjectId("other")


def call(project_id: ProjectId = ONE, **members: object) -> Invocation:
    made = Invocation(
        id=InvocationId("call"),
        project_id=project_id,
        function_id=FunctionId("function"),
        function_name="name",
        version=1,
        door=Door.PUBLIC,
        method="GET",
        path="/",
        started_at_ms=0,
        status=200,
    )
    return replace(made, **members)  # type: ignore[arg-type]


FAILED = call(status=504, outcome=Outcome.TIMEOUT, error="it took\ntoo\x1b[2J long\x85")


def at_once(work: Callable[[], None]) -> None:
    work()


def test_lines_of_calls_that_end_together_are_written_one_by_one() -> None:
    later: list[Callable[[], None]] = []
    with capture_logs() as lines:
        Failures(lambda: 0.0, later.append).ended([FAILED] * 3)
        assert not lines
        later[0]()
        assert len(lines) == 1
    assert len(later) == 3


def test_a_failed_call_has_one_line_and_a_good_one_none() -> None:
    with capture_logs() as lines:
        Failures(lambda: 0.0, at_once).ended([call(), FAILED, call(status=404), call(status=500)])
    assert [(line["event"], line["log_level"], line["status"]) for line in lines] == [
        ("call failed", "info", 504),
        ("call failed", "info", 500),
    ]
    assert lines[0]["error"] == "it took too [2J long "


@pytest.mark.parametrize(("later_s", "more"), [(59.0, []), (60.0, [{"untold": 10}])])
def test_a_project_has_so_many_lines_a_minute(later_s: float, more: list[dict[str, int]]) -> None:
    now = [0.0]
    failures = Failures(lambda: now[0], at_once)
    with capture_logs() as lines:
        failures.ended([FAILED] * (LINES_A_MINUTE + 10))
        failures.ended([replace(FAILED, project_id=OTHER)])
    assert [line["project_id"] for line in lines] == [ONE] * LINES_A_MINUTE + [OTHER]
    now[0] = later_s
    with capture_logs() as lines:
        failures.ended([FAILED])
    assert [{"untold": line["untold"]} for line in lines] == more

"""Console lines that are of no call: how many are kept, and whose go first."""

from isolet.domain.invocations import ConsoleLine
from isolet.ids import FunctionId, ProjectId
from isolet.observe.own_lines import LINES_MAX, OwnLines

BIG, SMALL = ProjectId("big"), ProjectId("small")


def a_line(message: str) -> ConsoleLine:
    return ConsoleLine(level="log", message=message, at_ms=1)


def add(own: OwnLines, project_id: ProjectId, function: str, *messages: str) -> None:
    for message in messages:
        own.add(project_id, FunctionId(function), a_line(message))


def messages(own: OwnLines, function: str) -> list[str]:
    return [line.message for line in own.of(FunctionId(function))]


def test_the_latest_lines_of_a_function_are_kept() -> None:
    own = OwnLines()
    add(own, BIG, "f", *(str(number) for number in range(LINES_MAX + 5)))
    assert messages(own, "f") == [str(number) for number in range(5, LINES_MAX + 5)]
    assert messages(own, "other") == []


def test_a_project_loses_its_own_oldest_lines_and_no_other_does() -> None:
    own = OwnLines(project_bytes=3_000, total_bytes=100_000)
    add(own, SMALL, "ours", "kept")
    for function in ("a", "b", "c", "a"):
        add(own, BIG, function, function * 1_000)
    assert [messages(own, function) != [] for function in ("a", "b", "c")] == [True, False, True]
    add(own, BIG, "a", "x" * 2_500)
    assert (messages(own, "a"), messages(own, "ours")) == (["x" * 2_500], ["kept"])


def test_when_all_are_full_the_project_that_holds_most_yields_first() -> None:
    own = OwnLines(project_bytes=3_000, total_bytes=5_000)
    add(own, BIG, "a", "1" * 1_100)
    add(own, BIG, "b", "2" * 1_100)
    add(own, SMALL, "ours", "3" * 800)
    add(own, ProjectId("new"), "theirs", "4" * 1_500)
    assert [len(messages(own, function)) for function in ("a", "b", "ours", "theirs")] == [0, 1, 1, 1]
    own.forget(BIG)
    add(own, ProjectId("new"), "theirs", "5")
    assert [len(messages(own, function)) for function in ("b", "ours", "theirs")] == [0, 1, 2]

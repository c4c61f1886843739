"""How long a process that failed waits."""

import pytest

from isolet.runtime.backoff import BackOff


@pytest.mark.parametrize(
    ("kind", "pauses_s"),
    [
        (BackOff.SERVICE, [0.0, 0.1, 0.5, 2.0, 5.0, 5.0, 5.0]),
        (BackOff.START, [0.0, 0.2, 1.0, 5.0, 15.0, 60.0, 60.0]),
        (BackOff.CRASH, [0.0, 0.0, 0.1, 0.5, 1.0, 1.0, 1.0]),
    ],
)
def test_it_grows_with_each_failure_in_a_row_up_to_its_most(kind: BackOff, pauses_s: list[float]) -> None:
    assert [kind.pause_s(failures) for failures in range(1, 8)] == pauses_s

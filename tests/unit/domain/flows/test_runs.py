from __future__ import annotations

import itertools

import pytest

from isolet.domain.flows.runs import FINAL, RunStatus, moved
from isolet.errors import InvalidInput

_ALLOWED = {
    "running": {"waiting", "ended", "failed", "handoff"},
    "waiting": {"running", "ended", "failed", "handoff"},
    "handoff": {"running", "ended", "failed"},
    "ended": set(),
    "failed": set(),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(RunStatus, RunStatus)))
def test_only_the_listed_moves_are_allowed(before: RunStatus, after: RunStatus) -> None:
    if after in _ALLOWED[before]:
        assert moved(before, after) is after
        return
    with pytest.raises(InvalidInput) as refused:
        moved(before, after)
    assert refused.value.message == f"Invalid transition from {before} to {after}"


def test_what_has_ended_is_final() -> None:
    assert {"ended", "failed"} == FINAL

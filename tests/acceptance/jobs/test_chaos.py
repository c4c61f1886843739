"""Accepted means kept: the server is killed while clients call; `make chaos` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.kills import run


@pytest.mark.timeout(180)
def test_every_accepted_call_runs_and_calls_back_whatever_is_killed(tmp_path: Path) -> None:
    outcome = run(tmp_path, kills=3, seed=5, longest_s=0.7, pause_s=0.01)

    assert outcome.accepted > 0, outcome
    assert (outcome.lost, outcome.mismatched, outcome.not_succeeded) == ([], [], []), outcome

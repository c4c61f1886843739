"""The states of a run, and which may follow which."""

from __future__ import annotations

from enum import StrEnum

from isolet.errors import InvalidInput

STEPS_MAX = 1_000
CALL_DEPTH_MAX = 10
# In the `system` of runs that functions start, and of those that they call.
START_DEPTH = "start_depth"
START_DEPTH_MAX = 10
VARIABLES_MAX_BYTES = 1_048_576
CONTEXT_MAX_BYTES = 262_144
EVENTS_SHOWN = 10
# Why a run waits that no answer is for.
DELAY = "delay"


class RunStatus(StrEnum):
    RUNNING = "running"
    WAITING = "waiting"
    HANDOFF = "handoff"
    ENDED = "ended"
    FAILED = "failed"


class StepStatus(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    WAITING = "waiting"
    SKIPPED = "skipped"


_AFTER = {
    RunStatus.RUNNING: frozenset({RunStatus.WAITING, RunStatus.ENDED, RunStatus.FAILED, RunStatus.HANDOFF}),
    RunStatus.WAITING: frozenset({RunStatus.RUNNING, RunStatus.ENDED, RunStatus.FAILED, RunStatus.HANDOFF}),
    RunStatus.HANDOFF: frozenset({RunStatus.RUNNING, RunStatus.ENDED, RunStatus.FAILED}),
    RunStatus.ENDED: frozenset[RunStatus](),
    RunStatus.FAILED: frozenset[RunStatus](),
}
FINAL = frozenset(status for status, after in _AFTER.items() if not after)


def moved(before: RunStatus, after: RunStatus) -> RunStatus:
    """The state after. Raises InvalidInput with the text that Kapso's API has for it."""
    if after not in _AFTER[before]:
        raise InvalidInput(f"Invalid transition from {before} to {after}")
    return after

"""The life of an instance: states and events are data, one function answers every pair of them."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Event(StrEnum):
    LISTENED = "listened"
    RETIRED = "retired"
    EMPTIED = "emptied"
    KILLED = "killed"
    EXITED = "exited"


class Action(StrEnum):
    """What the owner of the instance does about it."""

    NONE = "none"
    SERVE = "serve"
    DRAIN = "drain"
    KILL = "kill"
    FAIL_START = "fail_start"
    REPORT_CRASH = "report_crash"
    RELEASE = "release"


_TABLE: dict[tuple[State, Event], tuple[State, Action]] = {
    (State.STARTING, Event.LISTENED): (State.READY, Action.SERVE),
    (State.STARTING, Event.RETIRED): (State.STOPPING, Action.KILL),
    (State.STARTING, Event.KILLED): (State.STOPPING, Action.KILL),
    (State.STARTING, Event.EXITED): (State.STOPPED, Action.FAIL_START),
    (State.READY, Event.RETIRED): (State.DRAINING, Action.DRAIN),
    (State.READY, Event.KILLED): (State.STOPPING, Action.KILL),
    (State.READY, Event.EXITED): (State.STOPPED, Action.REPORT_CRASH),
    (State.DRAINING, Event.RETIRED): (State.DRAINING, Action.NONE),
    (State.DRAINING, Event.EMPTIED): (State.STOPPING, Action.KILL),
    (State.DRAINING, Event.KILLED): (State.STOPPING, Action.KILL),
    (State.DRAINING, Event.EXITED): (State.STOPPED, Action.REPORT_CRASH),
    # The process may have said that it listens just before it was killed.
    (State.STOPPING, Event.LISTENED): (State.STOPPING, Action.NONE),
    (State.STOPPING, Event.RETIRED): (State.STOPPING, Action.NONE),
    (State.STOPPING, Event.EMPTIED): (State.STOPPING, Action.NONE),
    (State.STOPPING, Event.KILLED): (State.STOPPING, Action.NONE),
    (State.STOPPING, Event.EXITED): (State.STOPPED, Action.RELEASE),
    # It may also have died by itself right after it said so.
    (State.STOPPED, Event.LISTENED): (State.STOPPED, Action.NONE),
    (State.STOPPED, Event.RETIRED): (State.STOPPED, Action.NONE),
    (State.STOPPED, Event.EMPTIED): (State.STOPPED, Action.NONE),
    (State.STOPPED, Event.KILLED): (State.STOPPED, Action.NONE),
}


def transition(state: State, event: Event) -> tuple[State, Action]:
    """The next state and what to do. Raises RuntimeError for a pair that cannot happen."""
    try:
        return _TABLE[state, event]
    except KeyError:
        raise RuntimeError(f"an instance that is {state} cannot have {event}") from None

"""The life of a process that is started on demand: states and events are data, one function answers every pair.

    WAITING ─► STARTING ─► RUNNING ─► RESTING ─► WAITING

While it is held, as for a copy of its files, no process is started; one that runs goes on.
"""

from __future__ import annotations

from enum import StrEnum


class ChildState(StrEnum):
    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    # After a failure, until the next connection may start a process.
    RESTING = "resting"
    HELD = "held"
    HELD_STARTING = "held_starting"
    HELD_RUNNING = "held_running"
    CLOSED = "closed"


class ChildEvent(StrEnum):
    CONNECTED = "connected"
    STARTED = "started"
    START_FAILED = "start_failed"
    # It was held, or closed, before its process was there.
    START_GIVEN_UP = "start_given_up"
    EXITED = "exited"
    RESTED = "rested"
    HELD = "held"
    LET_GO = "let_go"
    CLOSED = "closed"


class ChildAction(StrEnum):
    """What the owner of the process does about it."""

    NONE = "none"
    # Watch the sockets for a connection.
    WATCH = "watch"
    # Watch them no more, and end a rest.
    UNWATCH = "unwatch"
    # UNWATCH, then start a process.
    START = "start"
    REST = "rest"


_S, _E, _A = ChildState, ChildEvent, ChildAction
_TABLE: dict[tuple[ChildState, ChildEvent], tuple[ChildState, ChildAction]] = {
    (_S.WAITING, _E.CONNECTED): (_S.STARTING, _A.START),
    (_S.WAITING, _E.HELD): (_S.HELD, _A.UNWATCH),
    (_S.WAITING, _E.CLOSED): (_S.CLOSED, _A.UNWATCH),
    (_S.STARTING, _E.STARTED): (_S.RUNNING, _A.NONE),
    (_S.STARTING, _E.START_FAILED): (_S.RESTING, _A.REST),
    (_S.STARTING, _E.HELD): (_S.HELD_STARTING, _A.NONE),
    (_S.STARTING, _E.CLOSED): (_S.CLOSED, _A.NONE),
    # Two sockets may have a connection at the same moment.
    (_S.STARTING, _E.CONNECTED): (_S.STARTING, _A.NONE),
    (_S.RUNNING, _E.EXITED): (_S.RESTING, _A.REST),
    (_S.RUNNING, _E.HELD): (_S.HELD_RUNNING, _A.NONE),
    (_S.RUNNING, _E.CLOSED): (_S.CLOSED, _A.NONE),
    (_S.RESTING, _E.RESTED): (_S.WAITING, _A.WATCH),
    (_S.RESTING, _E.HELD): (_S.HELD, _A.UNWATCH),
    (_S.RESTING, _E.CLOSED): (_S.CLOSED, _A.UNWATCH),
    (_S.HELD, _E.LET_GO): (_S.WAITING, _A.WATCH),
    (_S.HELD, _E.CLOSED): (_S.CLOSED, _A.NONE),
    (_S.HELD_STARTING, _E.LET_GO): (_S.STARTING, _A.NONE),
    (_S.HELD_STARTING, _E.START_GIVEN_UP): (_S.HELD, _A.NONE),
    (_S.HELD_STARTING, _E.START_FAILED): (_S.HELD, _A.NONE),
    (_S.HELD_STARTING, _E.CLOSED): (_S.CLOSED, _A.NONE),
    (_S.HELD_RUNNING, _E.LET_GO): (_S.RUNNING, _A.NONE),
    (_S.HELD_RUNNING, _E.EXITED): (_S.HELD, _A.NONE),
    (_S.HELD_RUNNING, _E.CLOSED): (_S.CLOSED, _A.NONE),
    # What was under way ends, and changes nothing any more.
    (_S.CLOSED, _E.START_FAILED): (_S.CLOSED, _A.NONE),
    (_S.CLOSED, _E.START_GIVEN_UP): (_S.CLOSED, _A.NONE),
    (_S.CLOSED, _E.EXITED): (_S.CLOSED, _A.NONE),
    (_S.CLOSED, _E.LET_GO): (_S.CLOSED, _A.NONE),
    (_S.CLOSED, _E.CLOSED): (_S.CLOSED, _A.NONE),
}


def transition(state: ChildState, event: ChildEvent) -> tuple[ChildState, ChildAction]:
    """The next state and what to do. Raises RuntimeError for a pair that cannot happen."""
    try:
        return _TABLE[state, event]
    except KeyError:
        raise RuntimeError(f"a process that is {state} cannot have {event}") from None

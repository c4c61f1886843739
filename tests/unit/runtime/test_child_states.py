"""The life of a process that is started on demand: every pair of a state and an event."""

import pytest

from isolet.runtime.child_states import ChildAction, ChildEvent, ChildState, transition

S, E, A = ChildState, ChildEvent, ChildAction

# By state: what each event leads to. Any other event cannot happen in it.
TABLE = {
    S.WAITING: {
        E.CONNECTED: (S.STARTING, A.START),
        E.HELD: (S.HELD, A.UNWATCH),
        E.CLOSED: (S.CLOSED, A.UNWATCH),
    },
    S.STARTING: {
        E.CONNECTED: (S.STARTING, A.NONE),
        E.STARTED: (S.RUNNING, A.NONE),
        E.START_FAILED: (S.RESTING, A.REST),
        E.HELD: (S.HELD_STARTING, A.NONE),
        E.CLOSED: (S.CLOSED, A.NONE),
    },
    S.RUNNING: {
        E.EXITED: (S.RESTING, A.REST),
        E.HELD: (S.HELD_RUNNING, A.NONE),
        E.CLOSED: (S.CLOSED, A.NONE),
    },
    S.RESTING: {
        E.RESTED: (S.WAITING, A.WATCH),
        E.HELD: (S.HELD, A.UNWATCH),
        E.CLOSED: (S.CLOSED, A.UNWATCH),
    },
    S.HELD: {E.LET_GO: (S.WAITING, A.WATCH), E.CLOSED: (S.CLOSED, A.NONE)},
    S.HELD_STARTING: {
        E.LET_GO: (S.STARTING, A.NONE),
        E.START_GIVEN_UP: (S.HELD, A.NONE),
        E.START_FAILED: (S.HELD, A.NONE),
        E.CLOSED: (S.CLOSED, A.NONE),
    },
    S.HELD_RUNNING: {
        E.LET_GO: (S.RUNNING, A.NONE),
        E.EXITED: (S.HELD, A.NONE),
        E.CLOSED: (S.CLOSED, A.NONE),
    },
    S.CLOSED: dict.fromkeys((E.START_FAILED, E.START_GIVEN_UP, E.EXITED, E.LET_GO, E.CLOSED), (S.CLOSED, A.NONE)),
}
# In which there is a process, or soon will be.
BUSY = {S.STARTING, S.RUNNING, S.HELD_STARTING, S.HELD_RUNNING}


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("event", E)
def test_every_pair_has_an_answer_or_is_refused(state: ChildState, event: ChildEvent) -> None:
    if (expected := TABLE[state].get(event)) is not None:
        assert transition(state, event) == expected
    else:
        with pytest.raises(RuntimeError, match=f"{state} cannot have {event}"):
            transition(state, event)


@pytest.mark.parametrize("state", [state for state in S if state is not S.CLOSED])
def test_it_can_be_closed_in_any_state_and_then_nothing_starts(state: ChildState) -> None:
    assert transition(state, E.CLOSED)[0] is S.CLOSED
    assert {after for after, _ in TABLE[S.CLOSED].values()} == {S.CLOSED}


def test_a_process_starts_only_where_the_sockets_are_watched() -> None:
    starts = [(state, event) for state, row in TABLE.items() for event, (_, act) in row.items() if act is A.START]

    assert starts == [(S.WAITING, E.CONNECTED)]
    for state, row in TABLE.items():
        for after, act in row.values():
            # The sockets are watched in WAITING, and nowhere else.
            assert (act is A.WATCH) == (after is S.WAITING)
            assert (act in (A.START, A.UNWATCH)) == (state is S.WAITING or (state is S.RESTING and act is A.UNWATCH))


@pytest.mark.parametrize("state", [S.WAITING, S.STARTING, S.RUNNING, S.RESTING])
def test_what_is_held_and_let_go_is_where_it_was(state: ChildState) -> None:
    held, _ = transition(state, E.HELD)
    after, _ = transition(held, E.LET_GO)

    assert (held in BUSY) == (state in BUSY)
    assert after is (S.WAITING if state is S.RESTING else state)

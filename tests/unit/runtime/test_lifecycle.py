import itertools

import pytest

from isolet.runtime.lifecycle import Action, Event, State, transition

LISTED = {
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
    (State.STOPPING, Event.LISTENED): (State.STOPPING, Action.NONE),
    (State.STOPPING, Event.RETIRED): (State.STOPPING, Action.NONE),
    (State.STOPPING, Event.EMPTIED): (State.STOPPING, Action.NONE),
    (State.STOPPING, Event.KILLED): (State.STOPPING, Action.NONE),
    (State.STOPPING, Event.EXITED): (State.STOPPED, Action.RELEASE),
    (State.STOPPED, Event.LISTENED): (State.STOPPED, Action.NONE),
    (State.STOPPED, Event.RETIRED): (State.STOPPED, Action.NONE),
    (State.STOPPED, Event.EMPTIED): (State.STOPPED, Action.NONE),
    (State.STOPPED, Event.KILLED): (State.STOPPED, Action.NONE),
}
PAIRS = list(itertools.product(State, Event))


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair in LISTED], ids="-".join)
def test_a_pair_that_can_happen_has_its_answer(pair: tuple[State, Event]) -> None:
    assert transition(*pair) == LISTED[pair]


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair not in LISTED], ids="-".join)
def test_a_pair_that_cannot_happen_is_a_fault(pair: tuple[State, Event]) -> None:
    state, event = pair
    with pytest.raises(RuntimeError, match=f"^an instance that is {state} cannot have {event}$"):
        transition(state, event)


@pytest.mark.parametrize("state", State)
def test_an_instance_can_be_killed_in_every_state_and_never_comes_back(state: State) -> None:
    after, _ = transition(state, Event.KILLED)
    assert after in (State.STOPPING, State.STOPPED)


def test_nothing_leaves_the_end() -> None:
    assert {after for (state, _), (after, _) in LISTED.items() if state is State.STOPPED} == {State.STOPPED}

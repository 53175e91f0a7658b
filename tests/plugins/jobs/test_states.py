"""The table of states: nothing else is a legal move."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared_jobs.states import FINAL, JobStateError, State, check_move

#: Written down from the design a second time, on purpose.
LEGAL = {
    "WAITING": {"RUNNING", "ABORTED", "FAILED"},
    "RUNNING": {"SUCCESS", "FAILED", "ABORTED", "WAITING"},
    "SUCCESS": set(),
    "FAILED": set(),
    "ABORTED": set(),
}

states = st.sampled_from(list(State))


@given(states, states)
def test_only_legal_moves_pass(before: State, after: State) -> None:
    """A move passes exactly when the design lists it."""
    if after.value in LEGAL[before.value]:
        check_move(before, after)
    else:
        with pytest.raises(JobStateError, match=f"{before} to {after}"):
            check_move(before, after)


@given(st.lists(states, max_size=12))
def test_no_way_leads_out_of_a_final_state(wanted: list[State]) -> None:
    """Whatever is asked for, a job that has ended stays as it is."""
    state = State.WAITING
    for after in wanted:
        try:
            check_move(state, after)
        except JobStateError:
            continue
        assert state not in FINAL
        state = after


def test_names_are_those_of_the_wire() -> None:
    """States are told by their names, the last three are final."""
    assert [str(state) for state in State] == list(LEGAL)
    assert {str(state) for state in FINAL} == {"SUCCESS", "FAILED", "ABORTED"}

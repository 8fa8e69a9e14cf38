"""The transition tables: complete, unambiguous, and the page made from them is theirs."""

from __future__ import annotations

from enum import StrEnum
from itertools import product
from typing import Any, get_args

import pytest

from common.errors import Conflict
from common.messages import Close
from common.states import (
    ATTEMPT,
    BATCH,
    NODE,
    SHOT,
    BatchEvent,
    Machine,
    NodeEvent,
    NodeState,
    ShotState,
)

MACHINES: tuple[Machine[Any, Any], ...] = (SHOT, ATTEMPT, BATCH, NODE)
ALL: list[tuple[Machine[Any, Any], type[StrEnum], type[StrEnum]]] = [
    (machine, type(machine.initial[0]), type(machine.transitions[0].event)) for machine in MACHINES
]
FINAL: dict[str, set[str]] = {
    "shot": set(),
    "attempt": {"stored", "wasted", "rejected", "failed", "released"},
    "batch": {"closed"},
    "node": set(),
}


def _names(value: Any) -> str | None:
    return value.noun if isinstance(value, Machine) else None


@pytest.mark.parametrize(("machine", "states", "events"), ALL, ids=_names)
def test_every_pair_is_in_the_table_once_or_a_conflict(
    machine: Machine[Any, Any], states: type[StrEnum], events: type[StrEnum]
) -> None:
    for state, event in product(states, events):
        targets = [t.target for t in machine.transitions if (t.source, t.event) == (state, event)]
        if targets:
            assert [machine.after(state, event)] == targets
        else:
            with pytest.raises(Conflict, match=f"a {machine.noun} that is {state} cannot be {event}"):
                machine.after(state, event)


@pytest.mark.parametrize(("machine", "states", "events"), ALL, ids=_names)
def test_every_state_can_be_reached_and_every_event_happens(
    machine: Machine[Any, Any], states: type[StrEnum], events: type[StrEnum]
) -> None:
    assert _reachable(machine, *machine.initial) == set(states)
    assert {t.event for t in machine.transitions} == set(events)


@pytest.mark.parametrize(("machine", "states", "events"), ALL, ids=_names)
def test_only_final_states_have_no_way_on(
    machine: Machine[Any, Any], states: type[StrEnum], events: type[StrEnum]
) -> None:
    assert set(states) - {t.source for t in machine.transitions} == FINAL[machine.noun]


def test_a_shot_can_be_done_from_every_state() -> None:
    assert all(ShotState.DONE in _reachable(SHOT, state) for state in ShotState)


def test_a_node_can_be_ready_again_from_every_state() -> None:
    assert all(NodeState.READY in _reachable(NODE, state) for state in NodeState)


def test_a_distrusted_node_works_again_only_by_trust_or_a_pause_that_remembers() -> None:
    ways_out = {
        (t.event, t.target)
        for t in NODE.transitions
        if t.source in (NodeState.QUARANTINED, NodeState.SELFTEST)
        and t.target not in (NodeState.QUARANTINED, NodeState.SELFTEST)
    }
    assert ways_out == {
        (NodeEvent.TRUSTED, NodeState.READY),
        (NodeEvent.PAUSED, NodeState.PAUSED),
        (NodeEvent.REVOKED, NodeState.OFFLINE),
    }


def test_a_pause_is_ended_by_nothing_but_being_resumed() -> None:
    ends = {t.event for t in NODE.transitions if t.source == NodeState.PAUSED != t.target}
    resumed = {NodeEvent.RESUMED, NodeEvent.TESTED, NodeEvent.HELD, NodeEvent.CONFINED}
    assert ends == resumed | {NodeEvent.REVOKED}


@pytest.mark.parametrize("state", NodeState)
def test_a_node_holds_a_batch_in_no_state_that_cannot_be_freed(state: NodeState) -> None:
    leased = {t.target for t in NODE.transitions if t.event == NodeEvent.LEASED}
    held = _reachable_by(leased, {NodeEvent.DRAINED, NodeEvent.RESUMED}) - {
        NodeState.OFFLINE,
        NodeState.READY,
    }
    assert (state in held) == (state in NODE.sources(NodeEvent.FREED))


def test_every_closing_a_node_may_send_is_an_event_of_a_batch() -> None:
    sent = get_args(Close.model_fields["outcome"].annotation)
    assert set(sent) == set(BatchEvent) - {BatchEvent.EXPIRED, BatchEvent.VANISHED}


def _reachable_by(start: set[Any], events: set[NodeEvent]) -> set[Any]:
    found = set(start)
    while more := {t.target for t in NODE.transitions if t.source in found and t.event in events} - found:
        found |= more
    return found


def _reachable(machine: Machine[Any, Any], *start: StrEnum) -> set[StrEnum]:
    found = set(start)
    while more := {t.target for t in machine.transitions if t.source in found} - found:
        found |= more
    return found

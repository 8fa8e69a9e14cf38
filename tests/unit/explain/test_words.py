"""Words of the farm on screens: each has its line of help, or needs none."""

from __future__ import annotations

from common.states import NodeState, ShotState
from coordinator.explain.words import WORDS, help_on
from coordinator.ledger.transitions import ACCEPTED, DELETED, REJECTED

#: States that mean what everybody takes them for.
PLAIN = {
    *("waiting", "running", "done", "failed", "cancelled", "deleted"),
    *("ready", "busy", "paused", "offline", "lost", "forgotten"),
}


def test_each_state_that_screens_show_has_help_or_needs_none() -> None:
    states = {*map(str, ShotState), *map(str, NodeState), ACCEPTED, DELETED, REJECTED}
    assert states - PLAIN <= WORDS.keys(), "say what the state means, in `WORDS`"
    assert not PLAIN & WORDS.keys()


def test_help_is_one_line_of_80_columns() -> None:
    lines = help_on(WORDS)
    assert len(lines) == len(WORDS)
    assert [line for line in lines if len(line) > 80] == []

"""Whose fault a failure is, and what follows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.failures import FAILURES, MAX_ATTEMPTS, Blame, consequence, failure
from common.states import SHOT, ShotEvent, ShotState

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("blame", "attempts", "larger_class", "event"),
    [
        (Blame.SHOT, 1, 12, ShotEvent.RETRIED),
        (Blame.SHOT, MAX_ATTEMPTS - 1, None, ShotEvent.RETRIED),
        (Blame.SHOT, MAX_ATTEMPTS, 12, ShotEvent.EXHAUSTED),
        (Blame.SHOT, MAX_ATTEMPTS + 1, 12, ShotEvent.EXHAUSTED),
        (Blame.OUT_OF_MEMORY, 0, 12, ShotEvent.ENLARGED),
        (Blame.OUT_OF_MEMORY, 9, 12, ShotEvent.ENLARGED),
        (Blame.OUT_OF_MEMORY, 0, None, ShotEvent.OUTGROWN),
        (Blame.NODE, 9, None, ShotEvent.RETURNED),
        (Blame.FARM, 9, 12, ShotEvent.RETURNED),
        (Blame.CANCELLED, 9, None, ShotEvent.RETURNED),
    ],
)
def test_a_failure_falls_on_whose_fault_it_is(
    blame: Blame, attempts: int, larger_class: int | None, event: ShotEvent
) -> None:
    assert consequence(blame, attempts=attempts, larger_class=larger_class) is event


def test_a_prompt_that_is_too_long_is_the_only_failure_that_one_node_decides() -> None:
    once = [known for known in FAILURES.values() if known.attempts < MAX_ATTEMPTS]
    assert [known.kind for known in once] == ["prompt_too_long"]
    (known,) = once
    event = consequence(known.blame, attempts=1, larger_class=None, most=known.attempts)
    assert event is ShotEvent.EXHAUSTED


@pytest.mark.parametrize("blame", Blame)
@pytest.mark.parametrize("state", [ShotState.RUNNING, ShotState.DELIVERED])
@pytest.mark.parametrize("larger_class", [12, None])
def test_every_consequence_is_possible_wherever_a_failure_can_strike(
    blame: Blame, state: ShotState, larger_class: int | None
) -> None:
    for attempts in range(MAX_ATTEMPTS + 2):
        SHOT.after(state, consequence(blame, attempts=attempts, larger_class=larger_class))


def test_every_blame_has_a_kind_and_every_kind_a_sentence_without_a_full_stop() -> None:
    assert {known.blame for known in FAILURES.values()} == set(Blame)
    assert all(known.sentence and not known.sentence.endswith(".") for known in FAILURES.values())


def test_a_kind_unknown_here_is_the_shots_so_that_attempts_bound_it() -> None:
    assert failure("newer_kind").blame is Blame.SHOT
    assert "newer_kind" in failure("newer_kind").sentence


def test_every_kind_that_nodes_and_ingest_report_is_known() -> None:
    reported = re.compile(r'(?:(?:RenderError|BadUpload)\(|kind=|failure=)\s*"(\w+)"')
    sources = [*(ROOT / "gpu_node").rglob("*.py"), *(ROOT / "coordinator" / "ingest").rglob("*.py")]
    kinds = {kind for source in sources for kind in reported.findall(source.read_text())}
    assert kinds
    assert kinds <= FAILURES.keys()

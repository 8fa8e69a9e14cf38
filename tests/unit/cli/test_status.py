"""What `farm status`, `farm jobs` and `farm watch` say of what does not go on by itself."""

from __future__ import annotations

import pytest

from common.errors import OverBudget
from common.messages import CardFacts
from common.units import GIB
from common.views import BudgetView, JobSummary, JobView, NodeView
from coordinator.cli.jobs import over_budget, stopped
from coordinator.cli.watch import require_success
from coordinator.explain.fleet import idle_sentences


def node(state: str, **facts: str) -> NodeView:
    card = CardFacts(name="a card", backend="cpu", vram_bytes=8 * GIB, usable_bytes=GIB, ram_bytes=GIB)
    return NodeView.model_validate(
        {"id": "attic", "name": "attic", "owner": "farm", "lanes": ["public"], "card": "a card"}
        | {"facts": card, "terms": "owned", "vram_class": 8, "state": state, "seen_at": 0}
        | facts
    )


def job(cost: float, **counts: int) -> JobView:
    summary = JobSummary(
        id="j-1",
        name="tea",
        owner="ana",
        lane="public",
        priority=50,
        intent="paused",
        status="paused",
        reason="it has cost its budget",
        submitted_at=0,
        images=sum(counts.values()),
        counts=counts,
        budget=BudgetView(limit=1.0, cost=cost, currency="EUR"),
    )
    return JobView(**dict(summary), running={}, images_per_minute=0, eta_s=None, cost=cost, currency="EUR")


@pytest.mark.parametrize(
    ("one", "told"),
    [
        *((node(state), []) for state in ("ready", "busy")),
        *(
            (node(state), ["node attic ", "`farm"])
            for state in ("draining", "offline", "paused", "quarantined", "selftest", "lost")
        ),
        # What its owner ended is not complained of, and the owner's pause not the operator's to end.
        (node("offline", reason="stopped by its owner", decided_by="owner"), []),
        (
            node("paused", reason="paused by its owner", decided_by="owner"),
            ["node attic is paused by its owner", "its owner must run `farm-node resume` on attic"],
        ),
    ],
)
def test_a_node_that_does_nothing_is_named_with_what_would_change_it(one: NodeView, told: list[str]) -> None:
    said = idle_sentences([one])
    assert len(said) == bool(told)
    assert [part for part in told if part not in said[0]] == []


def test_a_job_that_spent_its_budget_shows_cost_limit_overshoot_and_what_is_undone() -> None:
    said = "it has spent 1.25 EUR of its 1.00 EUR limit, 0.250 EUR over; 3 images unfinished"
    assert stopped(job(1.25, done=2, waiting=3)) == said
    with pytest.raises(OverBudget, match="submit its manifest again"):
        require_success(job(1.25, done=2, waiting=3))


def test_a_job_below_its_budget_or_done_is_not_stopped_by_it() -> None:
    assert over_budget(job(0.5, waiting=3)) is None
    assert over_budget(job(1.25, done=5)) is None

"""Budgets: what is claimed never passes them at its estimate, and a job that has no room left says so."""

from __future__ import annotations

import pytest

from common.messages import Spent
from coordinator.ledger.schema import attempts, batches
from tests.contract.ledger.bench import Bench, Holder, placed

MINUTE = Spent(seconds={"denoise": 60.0})


def _measured(bench: Bench, *nodes: Holder) -> float:
    """What an image costs on these nodes, once each has made two."""
    for node in nodes:
        first = 1000 * len(bench.rows(batches))
        bench.submit(placed(2, first=first))
        bench.finish(node.lease(), MINUTE)
    return float(bench.rows(attempts)[0].cost)


def _job(bench: Bench, images: int, max_cost: float) -> str:
    """A job of shots that nobody made yet."""
    return bench.submit(placed(images, first=50_000), max_cost=max_cost).job_id


def test_no_batch_passes_a_budget_at_its_estimate(bench: Bench) -> None:
    node = bench.join()
    per_image = _measured(bench, node)
    job = _job(bench, 40, 7.9 * per_image)

    while lease := node.claim().lease:
        bench.finish(lease, MINUTE)

    view = bench.ledger.job(job)
    assert view.counts["done"] == 7
    assert view.cost <= 7.9 * per_image


def test_a_budget_that_is_met_exactly_is_used_to_the_last_image(bench: Bench) -> None:
    node = bench.join()
    per_image = _measured(bench, node)
    job = _job(bench, 3, 3 * per_image)

    while lease := node.claim().lease:
        bench.finish(lease, MINUTE)

    assert bench.counts(job) == {"done": 3}


def test_a_job_whose_budget_has_no_room_for_another_image_pauses_and_says_so(bench: Bench) -> None:
    node = bench.join()
    per_image = _measured(bench, node)
    job = _job(bench, 4, 2.5 * per_image)
    lease = node.lease()
    bench.ledger.sweep()
    assert bench.ledger.job(job).intent == "active", "what is in hand may cost less"
    bench.finish(lease, MINUTE)

    bench.ledger.sweep()

    view = bench.ledger.job(job)
    assert view.intent == "paused"
    assert "too little is left for another image" in view.reason


def test_a_job_that_a_cheaper_node_can_go_on_with_does_not_pause(bench: Bench) -> None:
    dear, cheap = bench.join("dear"), bench.join("cheap")
    per_image = _measured(bench, dear)
    _measured(bench, dear)
    bench.submit(placed(2, first=9000))
    bench.finish(cheap.lease(), Spent(seconds={"denoise": 10.0}))
    job = _job(bench, 4, 2.5 * per_image)
    bench.finish(dear.lease(), MINUTE)

    bench.ledger.sweep()

    assert bench.ledger.job(job).intent == "active"
    assert dear.claim().lease is None
    assert len(cheap.lease().shots) == 2


@pytest.mark.parametrize("spent", [1.0, 3.0])
def test_overshoot_is_at_most_the_error_of_the_estimate(bench: Bench, spent: float) -> None:
    nodes = [bench.join("a"), bench.join("b")]
    per_image = _measured(bench, *nodes)
    limit = 4.0 * per_image
    job = _job(bench, 40, limit)
    leases = [node.lease() for node in nodes]
    assert sum(len(lease.shots) for lease in leases) <= 4

    for lease in leases:
        bench.finish(lease, Spent(seconds={"denoise": 60.0 * spent}))
    bench.ledger.sweep()

    view = bench.ledger.job(job)
    rendered = sum(len(lease.shots) for lease in leases)
    assert view.cost <= limit + rendered * per_image * (spent - 1.0) * 1.001
    assert view.intent == "paused"

"""Budgets: what is claimed never passes them at its estimate, and a job that has no room left says so."""

from __future__ import annotations

from decimal import Decimal

import pytest

from common.cost import attempt_cost, estimated_joules
from common.messages import Spent
from common.settings import Money
from coordinator.ledger.schema import attempts, batches
from coordinator.scheduling.placing import Placement
from tests.contract.ledger.bench import Bench, Holder, placed, shot, work
from tests.contract.ledger.saying import said, shots_of

MINUTE = Spent(seconds={"denoise": 60.0})


@pytest.fixture
def estimating(bench: Bench) -> Bench:
    """A farm whose catalog knows before any measurement: 10 s for an image, 10 s for a load."""
    bench.restart(place=lambda shot, card, seen: Placement("bf16", 2, pace_s=1.0, load_s=10.0))
    return bench


def _cost_of(bench: Bench, seconds: float) -> float:
    """Of so long on a card of 8 GB."""
    joules = estimated_joules(seconds, 8, bench.rules.rates, None)
    cost = attempt_cost(seconds=seconds, joules=joules, vram_class=8, terms="owned", rates=bench.rules.rates)
    return float(cost.farm)


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


@pytest.mark.parametrize(("images", "budget", "made"), [(40, 7.9, 7), (3, 3.0, 3)])
def test_a_budget_is_used_to_the_last_image_that_it_covers_and_not_beyond(
    bench: Bench, images: int, budget: float, made: int
) -> None:
    node = bench.join()
    per_image = _measured(bench, node)
    job = _job(bench, images, budget * per_image)

    while lease := node.claim().lease:
        bench.finish(lease, MINUTE)

    view = bench.ledger.jobs.view(job)
    assert view.counts["done"] == made
    assert view.cost <= budget * per_image


def test_a_budget_has_room_for_keeping_each_image_beside_rendering_it(estimating: Bench) -> None:
    gift = estimating.join(terms="volunteer")
    estimating.restart(rates=Money(storage_per_gb_month=Decimal("0.5"), storage_months=10))
    size = shot().expected_bytes
    keeping = float(estimating.rules.rates.keeping(size))
    job = _job(estimating, 40, 3.5 * keeping)

    while lease := gift.claim().lease:
        reserved = sum(estimating.open_job(job).reserved.values())
        assert reserved == pytest.approx(len(lease.shots) * keeping)
        for index in range(len(lease.shots)):
            estimating.store(estimating.deliver(lease, index, MINUTE).attempt_id, size=size)
        estimating.close(lease)

    view = estimating.ledger.jobs.view(job)
    assert (view.counts["done"], view.cost) == (3, pytest.approx(3 * keeping))


def test_shots_of_unequal_work_are_reserved_each_at_its_own_estimate(bench: Bench) -> None:
    node = bench.join()
    per_image = _measured(bench, node)
    usual = shot().steps
    long, short = placed(2, first=50_000, steps=10 * usual), placed(20, first=60_000)
    limit = 25.5 * per_image
    job = bench.submit([*short[:10], *long, *short[10:]], max_cost=limit).job_id

    while lease := node.claim().lease:
        images = [ordered.spec["steps"] / usual for ordered in lease.shots]
        reserved = sum(bench.open_job(job).reserved.values())
        assert reserved == pytest.approx(sum(images) * per_image)
        assert bench.ledger.jobs.view(job).cost + reserved <= limit
        bench.finish(lease, Spent(seconds={"denoise": 60.0 * images[0]}))

    assert bench.counts(job) == {"done": 7, "waiting": 15}, "two long ones, and five short ones besides"


def test_a_job_that_has_room_for_its_short_shots_only_goes_on_with_them(bench: Bench) -> None:
    node = bench.join()
    per_image = _measured(bench, node)
    usual = shot().steps
    mixed = [*placed(2, first=50_000, steps=10 * usual), *placed(3, first=60_000)]
    job = bench.submit(mixed, max_cost=3.5 * per_image).job_id

    while lease := node.claim().lease:
        bench.finish(lease, MINUTE)
        bench.ledger.sweep()

    assert bench.counts(job) == {"done": 3, "waiting": 2}
    assert bench.ledger.jobs.view(job).intent == "paused"


def test_a_job_whose_budget_has_no_room_for_another_image_pauses_and_says_so(bench: Bench) -> None:
    node = bench.join()
    per_image = _measured(bench, node)
    job = _job(bench, 4, 2.5 * per_image)
    lease = node.lease()
    bench.ledger.sweep()
    assert bench.ledger.jobs.view(job).intent == "active", "what is in hand may cost less"
    bench.finish(lease, MINUTE)

    bench.ledger.sweep()

    view = bench.ledger.jobs.view(job)
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

    assert bench.ledger.jobs.view(job).intent == "active"
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

    view = bench.ledger.jobs.view(job)
    rendered = sum(len(lease.shots) for lease in leases)
    assert view.cost <= limit + rendered * per_image * (spent - 1.0) * 1.001
    assert view.intent == "paused"


def test_new_nodes_together_stay_within_a_budget_at_the_catalogs_estimate(estimating: Bench) -> None:
    job = _job(estimating, 40, _cost_of(estimating, 95.0))
    nodes = [estimating.join(f"new-{number}") for number in range(6)]

    leases = [lease for node in nodes if (lease := node.claim().lease)]

    assert len(leases) == 3, "two images of 10 s behind a load of 10 s each, three times"
    assert estimating.open_job(job).room >= 0


def test_a_model_that_is_loaded_leaves_its_load_to_the_budget(estimating: Bench) -> None:
    job = _job(estimating, 40, _cost_of(estimating, 25.0))
    node = estimating.join()

    assert len(node.lease(loaded_model="tiny").shots) == 2
    assert estimating.open_job(job).room == pytest.approx(_cost_of(estimating, 5.0))


def test_the_time_to_fetch_a_model_is_not_reserved_of_a_budget(estimating: Bench) -> None:
    job = _job(estimating, 40, _cost_of(estimating, 35.0))
    node = estimating.join(fetches=("tiny",), fetch_s={"tiny": 3600.0})

    assert len(node.lease().shots) == 2, "two images of 10 s behind a load of 10 s"
    assert estimating.open_job(job).room == pytest.approx(_cost_of(estimating, 5.0))


def test_while_nothing_tells_what_an_image_costs_one_batch_of_a_limited_job_is_in_hand(bench: Bench) -> None:
    job = _job(bench, 40, 1e-6)
    nodes = [bench.join(f"new-{number}") for number in range(10)]

    (lease,) = [lease for node in nodes if (lease := node.claim().lease)]
    bench.restart()

    assert len(lease.shots) == 2
    assert all(node.claim().lease is None for node in nodes[1:])
    bench.finish(lease, MINUTE)
    bench.ledger.sweep()
    assert bench.ledger.jobs.view(job).intent == "paused"


def test_what_one_node_was_measured_at_is_the_estimate_of_those_nothing_tells_of(bench: Bench) -> None:
    per_image = _measured(bench, bench.join("known"))
    _job(bench, 40, 4 * per_image)
    nodes = [bench.join(f"new-{number}") for number in range(4)]

    leases = [lease for node in nodes if (lease := node.claim().lease)]

    assert [len(lease.shots) for lease in leases] == [2, 2]


def test_volunteers_take_what_nothing_tells_the_price_of_all_at_once(bench: Bench) -> None:
    _job(bench, 8, 1e-6)
    names = [f"gift-{number}" for number in range(3)]
    nodes = [bench.join(name, owner=name, terms="volunteer") for name in names]
    assert all(node.claim().lease for node in nodes)


def test_a_job_pauses_at_its_budget(bench: Bench) -> None:
    job = bench.submit(placed(10), max_cost=0.001)
    node = bench.join()
    bench.finish(node.lease(), work(3600.0))
    bench.ledger.sweep()

    view = bench.ledger.jobs.view(job.job_id)
    assert view.intent == "paused"
    assert "of its" in view.reason
    assert node.claim().nothing is not None


def test_a_job_that_is_done_is_not_paused_although_it_cost_more_than_its_budget(bench: Bench) -> None:
    job = bench.submit(placed(2), max_cost=0.001).job_id
    bench.finish(bench.join().lease(), work(3600.0))

    bench.ledger.sweep()

    view = bench.ledger.jobs.view(job)
    assert view.cost > 0.001
    assert (view.status, view.intent) == ("done", "active")


def test_what_failed_on_a_volunteers_node_is_tried_there_again_if_no_other_can_be_paid(
    bench: Bench,
) -> None:
    own = bench.join("own")
    per_image = _measured(bench, own)
    free = bench.join("free", owner="vic", terms="volunteer")
    job = _job(bench, 1, 0.5 * per_image)
    free.fail("flat_image")
    bench.rest()

    assert own.claim().lease is None
    assert "node free takes this next" in said(bench, shots_of(bench, job)[0])
    assert len(free.lease().shots) == 1


def test_a_node_that_waits_hears_when_a_budget_has_room_again(bench: Bench) -> None:
    _job(bench, 4, 1.0)
    lease, waiting = bench.join().lease(), bench.join("other")
    assert waiting.claim().lease is None, "nothing tells yet what an image costs"
    for index in range(2):
        bench.store(bench.deliver(lease, index).attempt_id)
    announced: list[str] = []
    bench.ledger.commits.on_work(lambda: announced.append("work"))

    bench.close(lease)

    assert announced
    assert waiting.claim().lease is not None


def test_what_is_in_hand_is_reserved_of_the_budget(bench: Bench) -> None:
    nodes = [bench.join("a"), bench.join("b")]
    bench.submit(placed(4))
    for node in nodes:
        bench.finish(node.lease(), Spent(seconds={"denoise": 60.0}))
    per_image = bench.rows(attempts)[0].cost
    job = bench.submit(placed(40, first=100), max_cost=3.5 * per_image).job_id

    given = [len(node.lease().shots) for node in nodes]

    assert given == [2, 1]
    bench.restart()
    assert sum(bench.open_job(job).reserved.values()) == pytest.approx(3 * per_image, rel=1e-6)

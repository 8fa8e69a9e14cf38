"""Bills: what images cost and what else was spent is what nodes are charged for their seconds."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings

from common.bill import BillLine, bill_of
from common.messages import Spent
from common.settings import Money, NodeMoney, Tariff
from common.views import Rejection
from coordinator.ledger.charges import utc_month
from coordinator.ledger.schema import deleted_images, images
from tests.contract.ledger.bench import Bench, placed, work
from tests.contract.ledger.test_ledger_invariants import Walk, randoms, small_steps, walks

__all__ = ["small_steps"]

CENT = 0.01
LOAD = Spent(joules=900.0, energy_method="sampled", seconds={"load": 12.0})


def month_lines(bench: Bench, owner: str | None = None) -> list[BillLine]:
    return bench.ledger.accounts.month_bill(utc_month(bench.clock.now), owner)


def of_use(lines: list[BillLine], *uses: str) -> list[BillLine]:
    return [line for line in lines if line.use in uses]


def charged(lines: list[BillLine], rates: Money) -> float:
    """What the seconds and joules on a bill of owned cards cost, worked out anew for each node."""
    total = 0.0
    for line in lines:
        own = rates.of_node(line.node)
        electricity = (line.joules + own.host_watts * line.seconds) / 3.6e6 * float(own.tariff())
        total += electricity + line.seconds / 3600 * float(own.card_hour(line.vram_class))
    return total


class DearWalk(Walk):
    """A walk of owned cards whose seconds cost so much that a cent is little; each image is stored once."""

    volunteers = ()

    def __init__(self, bench: Bench, random: Random) -> None:
        dear = Money(
            tariff_per_kwh=Decimal(40),
            card_per_hour={8: Decimal(90), 12: Decimal(120), 32: Decimal(700)},
            nodes={"b": NodeMoney(host_watts=500, per_hour=Decimal(333))},
        )
        bench.rules = replace(bench.rules, rates=dear)
        super().__init__(bench, random)

    def verdict(self) -> None:
        if self.deliveries:
            outcome = self.random.choice(("stored", "stored", "rejected", "put off"))
            self.bench.store(
                self.random.choice(self.deliveries[-3:]), outcome=outcome, failure=self._failure()
            )

    def beat(self) -> None:
        for node in self.nodes.values():
            node.beat(idle_s=self.bench.clock.now % 1000, idle_joules=20 * (self.bench.clock.now % 1000))


@settings(walks, max_examples=3)
@given(random=randoms)
def test_images_and_overheads_add_up_to_the_node_seconds_charged(bench: Bench, random: Random) -> None:
    walk = DearWalk(bench, random)
    for _ in range(40):
        walk.step()
    lines = month_lines(bench)
    stored = sum(row.cost for table in (images, deleted_images) for row in bench.rows(table))
    overheads = sum(line.cost for line in lines if line.use != "image")
    assert stored + overheads == pytest.approx(charged(lines, bench.rules.rates), abs=CENT / 2)
    assert sum(line.images for line in lines) == sum(len(bench.rows(t)) for t in (images, deleted_images))


def test_a_month_tells_each_use_of_each_node_and_owner(bench: Bench) -> None:
    bench.submit(placed(2), owner="ana")
    node = bench.join(owner="rig")
    lease = node.lease()
    bench.store(bench.deliver(lease, 0, work(2.0, 100.0, encode=0.5)).attempt_id)
    bench.fail(lease, "flat_image", 1, work(3.0, 150.0))
    bench.close(lease, load=LOAD, spent=work(8.0, 400.0))
    bench.rest()
    node.beat(idle_s=60.0, idle_joules=600.0)

    lines = {(line.owner, line.use): line for line in month_lines(bench)}
    assert lines["ana", "image"].seconds == 2.5
    assert (lines["ana", "image"].images, lines["ana", "image"].kept) == (1, 1)
    assert lines["ana", "failed"].joules == 150.0
    assert lines["ana", "load"].seconds == 12.0
    assert lines["", "idle"].seconds == 60.0
    assert {owner for owner, _ in lines} == {"ana", ""}
    assert {line.owner for line in month_lines(bench, "ana")} == {"ana"}
    assert month_lines(bench, "ben") == []
    for line in lines.values():
        assert line.cost == pytest.approx(line.electricity + line.hours + line.storage)


def test_an_attempt_is_on_the_bill_of_the_month_once_it_is_settled(bench: Bench) -> None:
    job = bench.submit(placed(1))
    lease = bench.join().lease()
    attempt = bench.deliver(lease, 0, work(2.0, 100.0)).attempt_id
    assert of_use(month_lines(bench), "image") == []
    (delivered,) = bench.ledger.accounts.job_bill(job.job_id)
    assert (delivered.use, delivered.images, delivered.seconds) == ("image", 0, 2.0)
    assert delivered.cost > 0
    bench.store(attempt)
    (line,) = of_use(month_lines(bench), "image")
    assert line.images == 1


def test_a_rejected_image_is_made_and_not_kept(bench: Bench) -> None:
    job = bench.submit(placed(2))
    bench.finish(bench.join().lease())
    bench.ledger.shots.reject(placed(2)[0].planned.id, Rejection(redo="no"), job.job_id)

    for lines in (month_lines(bench), bench.ledger.accounts.job_bill(job.job_id)):
        bill = bill_of("any", "EUR", lines)
        assert (bill.images, bill.kept) == (2, 1)


def test_the_bill_of_a_job_is_its_cost_also_after_retention(bench: Bench) -> None:
    bench.restart(
        keep_s=10.0, rates=Money(storage_per_gb_month=Decimal("0.02"), traffic_per_gb=Decimal("0.09"))
    )
    job = bench.submit(placed(2))
    lease = bench.join().lease()
    for index in range(len(lease.shots)):
        bench.store(bench.deliver(lease, index).attempt_id, size=2_000_000)
    bench.close(lease, load=LOAD)
    before = bench.ledger.accounts.job_bill(job.job_id)
    cost = bench.ledger.jobs.view(job.job_id).cost
    assert sum(line.cost for line in before) == pytest.approx(cost)
    assert sum(line.storage for line in before) == pytest.approx(2 * 0.002 * (0.02 * 12 + 0.09))
    assert sum(line.cost for line in month_lines(bench)) == pytest.approx(cost)

    bench.ledger.thin()
    bench.clock.now += 11.0
    bench.thin()
    (line,) = bench.ledger.accounts.job_bill(job.job_id)
    assert (line.use, line.cost) == ("removed", pytest.approx(cost))


def test_electricity_costs_what_the_hour_says(bench: Bench) -> None:
    night = Tariff(from_hour=0, to_hour=24 - 1, per_kwh=Decimal("0.1"))
    bench.restart(rates=Money(tariff_per_kwh=Decimal("0.5"), tariffs=(night,)))
    at_night = bench.rules.rates.tariff(bench.clock.now)
    job = bench.submit(placed(1))
    bench.finish(bench.join().lease(), work(3600.0, 3.6e5))
    (line,) = of_use(bench.ledger.accounts.job_bill(job.job_id), "image")
    assert line.electricity == pytest.approx((0.1 + 0.05) * float(at_night))


def test_volunteers_are_thanked_for_hours_images_and_electricity(bench: Bench) -> None:
    bench.submit(placed(1))
    bench.finish(bench.join(owner="vera", terms="volunteer").lease(), work(3600.0, 3.6e5))
    (line,) = bench.ledger.accounts.thanks(utc_month(bench.clock.now))
    assert (line.owner, line.nodes, line.images, line.hours) == ("vera", 1, 1, 1.0)
    assert (line.card_kwh, line.kwh) == pytest.approx((0.1, 0.15))
    assert line.electricity == pytest.approx(0.15 * float(bench.rules.rates.tariff_per_kwh))
    assert bench.ledger.accounts.thanks(utc_month(bench.clock.now), "ana") == []
    assert sum(line.cost for line in month_lines(bench)) == 0

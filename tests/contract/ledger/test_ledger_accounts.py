"""Accounts: every sum the ledger tells equals the formula of the cost page over the raw rows."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
from sqlalchemy import event

from common.messages import Spent
from common.settings import Money
from coordinator.ledger.schema import attempts, batches, nodes
from tests.contract.ledger.bench import TIMING, Bench, Holder, placed, work

#: Relative; money is compared as the definition of done asks.
CLOSE = 1e-6


def _hand_made_cost(seconds: float, joules: float, vram_class: int, bench: Bench) -> float:
    """design: (E_gpu + P_host·t) / 3.6e6 · tariff + t · card_per_hour / 3600."""
    rates = bench.rules.rates
    electricity = (joules + rates.host_watts * seconds) / 3.6e6 * float(rates.tariff_per_kwh)
    return electricity + seconds * float(rates.card_per_hour[vram_class]) / 3600


def _one_failure_and_one_load(bench: Bench) -> tuple[str, Holder]:
    job = bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()
    bench.store(bench.deliver(lease, 0, work(2.0, 100.0, encode=0.5, upload=9.0)).attempt_id)
    bench.fail(lease, "flat_image", 1, work(3.0, 150.0))
    bench.close(lease, load=Spent(joules=900.0, energy_method="sampled", seconds={"load": 12.0}))
    bench.rest()
    bench.finish(node.lease(), work(4.0, 200.0))
    return job.job_id, node


def test_a_jobs_cost_is_that_of_all_attempts_and_loads(bench: Bench) -> None:
    job_id, _ = _one_failure_and_one_load(bench)

    expected = sum(
        _hand_made_cost(seconds, joules, 8, bench)
        for seconds, joules in ((2.5, 100.0), (3.0, 150.0), (4.0, 200.0), (12.0, 900.0))
    )
    assert bench.ledger.jobs.view(job_id).cost == pytest.approx(expected, rel=CLOSE)
    (row,) = bench.ledger.accounts.cost_table(job_id)
    assert (row.model, row.vram_class, row.images, row.failures) == ("tiny", 8, 2, 1)
    assert row.cost == pytest.approx(expected, rel=CLOSE)
    assert row.cost_per_image == pytest.approx(expected / 2, rel=CLOSE)
    assert row.seconds_per_image == pytest.approx((2.5 + 3.0 + 4.0 + 12.0) / 2)


def test_totals_agree_with_the_raw_rows_and_survive_a_restart(bench: Bench) -> None:
    _one_failure_and_one_load(bench)
    labels = ("tiny", "public", 8)
    totals = bench.ledger.accounts.totals()

    assert {outcome: count for (_, outcome), count in totals.attempts.items()} == {"stored": 2, "failed": 1}
    assert totals.failures == {"": 2, "flat_image": 1}
    assert totals.seconds[labels, "denoise"] == pytest.approx(9.0)
    assert totals.seconds[labels, "load"] == pytest.approx(12.0)
    assert totals.seconds[labels, "upload"] == pytest.approx(9.0)
    assert totals.joules[labels, "sampled"] == pytest.approx(450.0)
    assert totals.loads[labels] == 1
    raw = sum(row.cost for row in bench.rows(attempts))
    around = sum(row.load_cost + row.lost_cost for row in bench.rows(batches))
    assert sum(totals.cost.values()) == pytest.approx(raw + around, rel=CLOSE)
    bench.restart()
    assert bench.ledger.accounts.totals() == totals


def test_a_heartbeat_need_not_wait_for_totals(bench: Bench) -> None:
    node = bench.join()
    beaten: list[object] = []

    def beat_meanwhile(_c: object, _k: object, statement: str, *_: object) -> None:
        if "FROM tallies" in statement:
            thread = threading.Thread(target=lambda: beaten.append(node.beat()), daemon=True)
            thread.start()
            thread.join(20)

    event.listen(bench.engine, "before_cursor_execute", beat_meanwhile)
    bench.ledger.accounts.totals()
    event.remove(bench.engine, "before_cursor_execute", beat_meanwhile)

    assert beaten


def test_a_volunteers_electricity_is_on_no_bill_of_the_farm(bench: Bench) -> None:
    job = bench.submit(placed(1))
    bench.finish(bench.join(terms="volunteer").lease(), work(3600.0, 3.6e5))

    totals = bench.ledger.accounts.totals()
    assert bench.ledger.jobs.view(job.job_id).cost == 0
    assert sum(totals.cost.values()) == 0
    rates = bench.rules.rates
    expected = (3.6e5 + rates.host_watts * 3600) / 3.6e6 * float(rates.tariff_per_kwh)
    assert sum(totals.volunteer_cost.values()) == pytest.approx(expected, rel=CLOSE)


def test_energy_that_nothing_measured_is_estimated_from_the_card(bench: Bench) -> None:
    bench.submit(placed(1))
    bench.finish(bench.join().lease(), Spent(seconds={"denoise": 10.0}))

    (row,) = bench.rows(attempts)
    assert row.energy_method == "estimated"
    assert row.joules == pytest.approx(10.0 * bench.rules.rates.card_watts[8])


def test_images_per_minute_and_the_time_left_follow_what_was_stored(bench: Bench) -> None:
    job = bench.submit(placed(200))
    node = bench.join()
    # By the speeds of the nodes the job could be twice as fast.
    bench.join("idle")
    for _ in range(3):
        lease = node.lease()
        bench.clock.now += 100
        bench.finish(lease, work(10.0))

    view = bench.ledger.jobs.view(job.job_id)
    stored, left = view.counts["done"], view.counts["waiting"]
    assert view.images_per_minute > 0
    assert view.eta_s == pytest.approx(left / view.images_per_minute * 60)
    assert stored + left == 200


def test_the_backlog_and_the_fleet_are_counted_by_class(bench: Bench) -> None:
    job = bench.submit([*placed(4), *placed(1, model="other", min_class=24)])
    bench.join().lease()

    totals = bench.ledger.accounts.totals()

    assert totals.waiting == {("public", 8): 2, ("public", 24): 1}
    assert totals.running == {("public", 8): 2}
    assert totals.nodes == {(8, "busy"): 1}
    assert set(totals.oldest_waiting.values()) == {bench.ledger.jobs.view(job.job_id).submitted_at}


def test_what_a_killed_pass_spent_is_accounted_from_its_heartbeats(bench: Bench) -> None:
    bench.past_the_grace()
    job = bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()
    bench.deliver(lease, 0, work(2.0, 100.0))
    spent = Spent(joules=450.0, energy_method="sampled", seconds={"denoise": 9.0, "load": 1.0})
    node.beat(lease, spent=spent)
    bench.let_pass(TIMING.lease_s + 2 * TIMING.sweep_s)

    (batch,) = bench.rows(batches)
    assert (batch.lost_s, batch.lost_joules) == (pytest.approx(8.0), pytest.approx(350.0))
    assert bench.ledger.jobs.view(job.job_id).cost > 0


def test_what_a_node_spends_after_its_lease_lapsed_is_accounted_once(bench: Bench) -> None:
    bench.past_the_grace()
    job = bench.submit(placed(2), max_cost=1000.0)
    node = bench.join()
    lease = node.lease()
    node.beat(lease, spent=work(5.0, 200.0))
    bench.let_pass(TIMING.lease_s + 2 * TIMING.sweep_s)

    for _ in range(2):
        assert node.beat(lease, spent=work(30.0, 900.0)).order == "stop"

    (batch,) = bench.rows(batches)
    assert (batch.lost_s, batch.lost_joules) == (pytest.approx(30.0), pytest.approx(900.0))
    cost = bench.ledger.jobs.view(job.job_id).cost
    assert cost == pytest.approx(batch.lost_cost)
    assert bench.open_job(job.job_id).cost == pytest.approx(cost)


def test_what_a_lost_lease_spent_before_the_tariff_changed_keeps_its_price(bench: Bench) -> None:
    bench.restart(rates=Money(tariff_per_kwh=Decimal("0.5")))
    bench.past_the_grace()
    job = bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()
    node.beat(lease, spent=work(3600.0, 3.6e5))
    bench.let_pass(TIMING.lease_s + 2 * TIMING.sweep_s)
    before = bench.ledger.jobs.view(job.job_id).cost
    assert before == pytest.approx(_hand_made_cost(3600.0, 3.6e5, 8, bench)) != 0

    bench.restart(rates=Money(tariff_per_kwh=Decimal("0.1")))
    node.beat(lease, spent=work(3600.0, 3.6e5))
    assert sum(bench.ledger.accounts.totals().cost.values()) == before
    for _ in range(2):
        node.beat(lease, spent=work(5400.0, 5.4e5))

    cost = before + _hand_made_cost(1800.0, 1.8e5, 8, bench)
    assert bench.ledger.jobs.view(job.job_id).cost == pytest.approx(cost, rel=CLOSE)
    assert sum(bench.ledger.accounts.totals().cost.values()) == pytest.approx(cost, rel=CLOSE)
    (batch,) = bench.rows(batches)
    assert (batch.lost_s, batch.lost_joules) == (5400.0, 5.4e5)


def test_what_a_closing_tells_of_a_pass_without_reports_is_accounted(bench: Bench) -> None:
    job = bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()
    node.beat(lease, spent=Spent(seconds={"load": 1.0}))
    load = Spent(joules=50.0, energy_method="sampled", seconds={"load": 2.0})
    spent = Spent(joules=450.0, energy_method="sampled", seconds={"denoise": 9.0, "load": 2.0})
    bench.close(lease, "failed", failure="engine_died", load=load, spent=spent)

    (batch,) = bench.rows(batches)
    assert (batch.lost_s, batch.lost_joules) == (pytest.approx(9.0), pytest.approx(400.0))
    assert batch.spent_method == "sampled"
    assert bench.ledger.jobs.view(job.job_id).cost == pytest.approx(batch.load_cost + batch.lost_cost)


def test_idle_time_is_cumulative_in_an_incarnation_and_adds_up_over_them(bench: Bench) -> None:
    node = bench.join()
    for idle_s, joules in ((10.0, 300.0), (15.0, 400.0), (15.0, 400.0), (10.0, 300.0)):
        node.beat(idle_s=idle_s, idle_joules=joules)
    bench.join().beat(idle_s=5.0, idle_joules=100.0)

    (row,) = bench.rows(nodes)
    assert (row.idle_s, row.idle_joules) == (20.0, 500.0)
    assert bench.ledger.accounts.totals().idle_cost[8] == pytest.approx(row.idle_cost) != 0


def test_a_card_that_its_owner_has_back_idles_at_nobodys_cost(bench: Bench) -> None:
    node = bench.join()
    node.beat(idle_s=10.0, idle_joules=300.0)
    bench.ledger.nodes.pause("node", who="owner")
    node.beat(idle_s=3610.0, idle_joules=900_300.0)
    bench.ledger.nodes.resume("node", who="owner")
    node.beat(idle_s=3615.0, idle_joules=900_400.0)

    (row,) = bench.rows(nodes)
    assert (row.idle_s, row.idle_joules) == (15.0, 400.0)


def test_a_card_that_the_operator_pauses_still_idles_at_the_farms_cost(bench: Bench) -> None:
    node = bench.join()
    bench.ledger.nodes.pause("node")
    node.beat(idle_s=10.0, idle_joules=300.0)

    (row,) = bench.rows(nodes)
    assert (row.idle_s, row.idle_joules) == (10.0, 300.0)

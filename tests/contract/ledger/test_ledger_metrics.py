"""Metrics of a ledger: where series begin, what demand tells, and what nodes that are gone do not tell."""

from __future__ import annotations

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from common.failures import FAILURES
from common.nodes import VRAM_CLASSES
from coordinator.ledger import StageTime
from coordinator.metrics.fleet import fleet_metrics
from coordinator.metrics.work import backlog_metrics, work_metrics
from tests.contract.ledger.bench import Bench, placed, work
from tests.scrape import total


def told(bench: Bench) -> dict[str, Metric]:
    """Every metric by name; a counter without its `_total`."""
    totals, fleet = bench.ledger.accounts.totals(), bench.ledger.nodes.readings()
    families = *work_metrics(totals), *backlog_metrics(totals, fleet.nodes), *fleet_metrics(totals, fleet)
    return {metric.name: metric for metric in text_string_to_metric_families("".join(families))}


def test_series_begin_at_0_with_the_first_lease(bench: Bench) -> None:
    bench.submit(placed(2))
    assert told(bench)["farm_images"].samples == []
    bench.join().lease()
    metrics = told(bench)
    outcomes = {sample.labels["outcome"]: sample.value for sample in metrics["farm_images"].samples}
    assert outcomes == dict.fromkeys(("stored", "wasted", "rejected", "failed", "cancelled", "released"), 0)
    assert {sample.value for sample in metrics["farm_cost"].samples} == {0}
    assert {sample.labels["failure"] for sample in metrics["farm_attempts"].samples} == {"", *FAILURES}


def test_a_cancelled_attempt_is_no_failure_and_its_time_has_a_use_of_its_own(bench: Bench) -> None:
    job = bench.submit(placed(2))
    lease = bench.join().lease()
    bench.fail(lease, "cancelled", 0, work(3.0, 30.0))
    bench.fail(lease, "flat_image", 1, work(4.0, 40.0))
    metrics = told(bench)
    assert total(metrics["farm_images"], outcome="failed") == 1
    assert total(metrics["farm_images"], outcome="cancelled") == 1
    assert total(metrics["farm_gpu_use_seconds"], use="cancelled") == 3.0
    assert total(metrics["farm_gpu_use_seconds"], use="failed") == 4.0
    (row,) = bench.ledger.accounts.cost_table(job.job_id)
    assert (row.failures, bench.ledger.accounts.cost_table()[0].failures) == (1, 1)


def test_components_and_uses_add_up_to_the_cost(bench: Bench) -> None:
    bench.submit(placed(2))
    node = bench.join()
    bench.finish(node.lease(), work(2.0, 100.0, encode=0.5))
    node.beat(idle_s=60.0, idle_joules=600.0)
    metrics = told(bench)
    cost = total(metrics["farm_cost"])
    assert total(metrics["farm_cost_component"]) == pytest.approx(cost)
    assert total(metrics["farm_use_cost"]) == pytest.approx(cost)
    rates = bench.rules.rates
    joules = 2 * 100.0 + 600.0 + rates.host_watts * (2 * 2.5 + 60.0)
    electricity = joules / 3.6e6 * float(rates.tariff_per_kwh)
    assert total(metrics["farm_cost_component"], component="electricity") == pytest.approx(electricity)


def test_what_each_owner_had_adds_up_to_the_cost_of_jobs(bench: Bench) -> None:
    for owner, number in {"ana": 2, "bo": 1}.items():
        bench.submit(placed(number, guidance=float(number)), owner=owner)
        bench.finish(bench.join().lease(), work(2.0, 100.0))
    bench.submit(placed(1, first=9), owner="cleo")
    metrics = told(bench)
    images, cost = metrics["farm_owner_images"], metrics["farm_owner_cost"]
    assert [total(images, owner=owner) for owner in ("ana", "bo", "cleo")] == [2, 1, 0]
    assert {sample.labels["owner"] for sample in cost.samples} == {"ana", "bo", "cleo"}
    assert total(cost) == pytest.approx(total(metrics["farm_cost"])) == 1.5 * total(cost, owner="ana")


def test_demand_is_what_waits_and_runs_with_a_sample_for_every_class(bench: Bench) -> None:
    def demand(**labels: str) -> float:
        found = told(bench)["farm_demand_shots"]
        assert {int(one.labels["vram_class"]) for one in found.samples} == set(VRAM_CLASSES)
        return total(found, **labels)

    assert demand() == 0
    job = bench.submit(placed(4, min_class=8))
    node = bench.join("node", 24)
    lease = node.lease()
    assert demand(vram_class="24") == len(lease.shots)
    assert demand() == 4
    bench.ledger.jobs.cancel(job.job_id)
    assert demand() == len(lease.shots)
    bench.close(lease, "released")
    assert demand() == 0


def test_nodes_count_for_smaller_classes_of_their_lanes_while_they_serve(bench: Bench) -> None:
    bench.join("node", 24)
    eligible = told(bench)["farm_eligible_nodes"]
    assert {size: total(eligible, lane="public", vram_class=str(size)) for size in (8, 24, 32)} == {
        8: 1,
        24: 1,
        32: 0,
    }
    bench.ledger.nodes.drain("node")
    assert total(told(bench)["farm_eligible_nodes"]) == 0


def test_a_node_that_is_gone_tells_no_watts_no_temperature_and_no_model(bench: Bench) -> None:
    node = bench.join()
    node.beat(watts=120.0, temperature_c=60.0, loaded_model="tiny")
    names = ("farm_node_watts", "farm_node_temperature_celsius", "farm_node_loaded_model")
    assert [total(told(bench)[name], node="node") for name in names] == [120.0, 60.0, 1]
    bench.ledger.nodes.leave("node", node.joined.incarnation)
    metrics = told(bench)
    assert [metrics[name].samples for name in names] == [[], [], []]
    assert total(metrics["farm_node_info"], state="offline") == 1


def test_more_nodes_need_no_more_statements(bench: Bench) -> None:
    def statements() -> int:
        with bench.counted_statements() as sent:
            told(bench)
        return len(sent)

    bench.join()
    with_one = statements()
    for number in range(4):
        bench.join(f"node-{number}").beat(watts=100.0)
    assert total(told(bench)["farm_nodes"]) == 5
    assert statements() == with_one


def test_the_time_of_idle_nodes_is_a_sum_over_their_states(bench: Bench) -> None:
    for name, seconds in {"one": 60.0, "two": 30.0}.items():
        bench.join(name).beat(idle_s=seconds)
    bench.ledger.nodes.drain("two")
    assert bench.ledger.accounts.totals().idle_seconds == {8: 90.0}


def test_commits_tell_how_long_stages_took(bench: Bench) -> None:
    taken: list[StageTime] = []
    bench.ledger.commits.on_stages(taken.extend)
    bench.submit(placed(1))
    bench.clock.now += 30.0
    lease = bench.join().lease()
    bench.store(bench.deliver(lease, 0, work(2.0, encode=0.5)).attempt_id, seconds=0.1)
    found = {one.stage: (one.seconds, one.times) for one in taken}
    assert found.keys() == {"wait", "encode", "denoise", "ingest"}
    assert found["wait"] == (30.0, 1)
    assert found["encode"] == (0.5, 1)
    assert found["ingest"] == (0.1, 1)

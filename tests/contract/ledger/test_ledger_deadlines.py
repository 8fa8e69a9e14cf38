"""A lease whose node only heartbeats ends; one whose shots are reported goes on."""

from __future__ import annotations

from math import ceil

import pytest
from sqlalchemy import update

from common.settings import Timing
from coordinator.ledger.deadlines import lease_deadline
from coordinator.ledger.schema import batches
from coordinator.scheduling.placing import Placement
from tests.contract.ledger.bench import TIMING, Bench, Holder, Lease, placed


@pytest.fixture
def hasty(bench: Bench) -> Bench:
    """A farm that expects 2 s for an image, and gives a batch 40 s at the least: sweeps take a while."""
    timing = TIMING.model_copy(update={"stall_load_s": 60.0, "stall_render_s": 40.0})
    bench.restart(timing=timing, place=lambda shot, card, seen: Placement("bf16", 2, pace_s=0.2, load_s=5.0))
    bench.past_the_grace()
    return bench


def until_due(bench: Bench, lease: Lease) -> float:
    return next(row.due_at for row in bench.rows(batches) if row.id == lease.batch_id) - bench.clock.now


def hold(bench: Bench, held: dict[Holder, Lease], seconds: float) -> list[str]:
    """Heartbeat for so long, and no more; the leases that ended."""
    ended: list[str] = []
    step_s = 2 * TIMING.sweep_s
    for _ in range(ceil(seconds / step_s)):
        bench.clock.now += step_s
        for node, lease in held.items():
            node.beat(lease)
        ended += bench.ledger.sweep().expired
    return ended


def test_ten_names_that_only_heartbeat_do_not_hold_work_without_end(hasty: Bench) -> None:
    job = hasty.submit(placed(40)).job_id
    held = {node: node.lease() for node in (hasty.join(f"mal-{number}") for number in range(4))}
    own = hasty.join("own")
    due_s = until_due(hasty, next(iter(held.values())))
    assert 60.0 < due_s < 60.0 + TIMING.hard_limit_s

    assert hold(hasty, held, due_s - 10) == []
    while (lease := own.claim().lease) is not None:
        hasty.finish(lease)
    ended = hold(hasty, held, 20)

    assert sorted(ended) == sorted(lease.batch_id for lease in held.values())
    assert {hasty.node_row(node.id).record for node in held} == {"x"}
    assert {node.beat(lease).order for node, lease in held.items()} == {"stop"}
    while (lease := own.claim().lease) is not None:
        hasty.finish(lease)
    assert hasty.counts(job) == {"done": 40}


def test_a_lease_goes_on_as_long_as_its_shots_are_reported(hasty: Bench) -> None:
    hasty.submit(placed(2))
    node = hasty.join()
    hasty.finish(node.lease())
    hasty.submit(placed(6, first=50))
    lease = node.lease()
    assert len(lease.shots) == 6
    patience_s = 32.0
    assert hold(hasty, {node: lease}, until_due(hasty, lease) - 10) == []
    for index in range(3):
        hasty.store(hasty.deliver(lease, index).attempt_id)
        assert hold(hasty, {node: lease}, patience_s) == []
    hasty.fail(lease, "render_error", 3)
    assert hold(hasty, {node: lease}, patience_s) == []

    assert hold(hasty, {node: lease}, patience_s) == [lease.batch_id]
    assert hasty.shot_row(lease.shots[4].id).crashes == 0


def test_a_node_is_not_blamed_while_no_node_delivers(hasty: Bench) -> None:
    hasty.submit(placed(2))
    node = hasty.join()
    lease = node.lease()
    assert hold(hasty, {node: lease}, until_due(hasty, lease) + 10) == [lease.batch_id]
    assert hasty.node_row().record == ""


def test_no_lease_ends_while_the_store_is_away_nor_right_after(hasty: Bench) -> None:
    hasty.submit(placed(4))
    node = hasty.join()
    lease = node.lease()
    attempt = hasty.deliver(lease).attempt_id
    for _ in range(10):
        # The store answers ingest no better than the node.
        hasty.store(attempt, outcome="put off", sha256=None, size=None, message="the store does not answer")
        assert hold(hasty, {node: lease}, 20) == []

    hasty.store(attempt)
    assert hold(hasty, {node: lease}, TIMING.grace_s + 10) == []
    assert lease.batch_id in hold(hasty, {node: lease}, 40)


def test_a_report_costs_no_statement_for_the_deadline(hasty: Bench) -> None:
    hasty.submit(placed(4))
    lease = hasty.join().lease()
    hasty.deliver(lease)
    with hasty.counted_statements() as sent:
        hasty.deliver(lease, 1)
    assert not [one for one in sent if one.startswith("UPDATE batches")]


def test_leases_of_an_earlier_version_have_no_deadline(hasty: Bench) -> None:
    hasty.submit(placed(2))
    node = hasty.join()
    lease = node.lease()
    with hasty.engine.begin() as connection:
        connection.execute(update(batches).values(due_at=None, patience_s=None))
    assert hold(hasty, {node: lease}, 300.0) == []


def test_no_pass_may_take_longer_than_the_hard_limit_of_its_images() -> None:
    timing = Timing()
    known = lease_deadline(timing, 0.0, load_s=100.0, work_s=10 * 3600.0, pass_size=2)
    assert known.patience_s == 2 * timing.hard_limit_s
    assert known.due_at == timing.stall_load_s + 200.0 + known.patience_s
    unknown = lease_deadline(timing, 0.0, load_s=1e9, work_s=None, pass_size=1)
    assert unknown.patience_s == timing.hard_limit_s
    assert unknown.due_at == timing.stall_load_s + 6 * 3600.0 + timing.hard_limit_s

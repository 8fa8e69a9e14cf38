"""Leases: renewed by heartbeats, run out with silence, and kept while the farm itself was away."""

from __future__ import annotations

import pytest

from common.errors import Gone
from tests.contract.ledger.bench import TIMING, Bench, placed


def test_a_lease_that_is_not_renewed_expires_and_its_node_is_lost(bench: Bench) -> None:
    bench.past_the_grace()
    job = bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()

    found = bench.let_pass(TIMING.lease_s + 2 * TIMING.sweep_s)

    assert [swept.expired for swept in found if swept.expired] == [(lease.batch_id,)]
    assert bench.counts(job.job_id) == {"waiting": 2}
    assert bench.node_state() == "lost"
    assert bench.shot_row(lease.shots[0].id).attempts == 0
    with pytest.raises(Gone, match="expired"):
        bench.deliver(lease)


def test_a_heartbeat_renews_the_lease(bench: Bench) -> None:
    bench.past_the_grace()
    node, lease = bench.leased(2)

    for _ in range(6):
        bench.let_pass(TIMING.heartbeat_s)
        assert node.beat(lease).order == "go on"

    assert bench.node_state() == "busy"


def test_a_heartbeat_for_an_expired_lease_is_told_to_stop_and_the_node_lives(bench: Bench) -> None:
    bench.past_the_grace()
    node, lease = bench.leased()
    bench.let_pass(TIMING.lease_s + 2 * TIMING.sweep_s)

    answer = node.beat(lease)

    assert (answer.order, answer.reason) == ("stop", f"batch {lease.batch_id} has ended: expired")
    assert bench.node_state() == "ready"


def test_no_lease_expires_in_the_grace_after_a_start(bench: Bench) -> None:
    bench.submit(placed(1))
    bench.join().lease()
    bench.clock.now += 3600
    bench.restart()

    assert not any(swept.expired for swept in bench.let_pass(TIMING.grace_s - TIMING.sweep_s))
    assert any(swept.expired for swept in bench.let_pass(2 * TIMING.sweep_s))


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_no_lease_expires_in_the_grace_after_a_stall_or_a_clock_jump(bench: Bench, jump: float) -> None:
    bench.past_the_grace()
    node, lease = bench.leased()
    bench.clock.now += jump

    assert not any(swept.expired for swept in bench.let_pass(TIMING.grace_s - TIMING.sweep_s))
    assert node.beat(lease).order == "go on"


def test_a_clock_that_is_set_back_lengthens_no_lease_and_no_silence(bench: Bench) -> None:
    bench.past_the_grace()
    _, lease = bench.leased(4)
    other = bench.join("other").lease()
    attempt = bench.deliver(other).attempt_id
    bench.clock.now -= 3600

    found = bench.let_pass(TIMING.grace_s + TIMING.lease_s + 2 * TIMING.sweep_s)

    assert lease.batch_id in {batch for swept in found for batch in swept.expired}
    assert bench.node_state() == "lost"
    assert attempt in {one for swept in found for one in swept.ingest_again}

"""Shots that a node has not begun are taken back: they wait again, and nothing else changes for the batch."""

from __future__ import annotations

import pytest

from common.errors import Conflict
from common.messages import GrantRequest, Lease, Listen
from coordinator.background.look_ahead import LookAhead
from tests.contract.ledger.bench import SHA, Bench, Holder, good, placed, work
from tests.ledger_rules import check_ledger


def measured(bench: Bench, name: str, image_s: float) -> Holder:
    """A node that is known to take so long for an image."""
    node = bench.join(name)
    bench.submit(placed(2, first=(1 + next(bench.numbers)) * 1000))
    bench.finish(node.lease(), work(image_s))
    return node


def look(bench: Bench) -> LookAhead:
    ahead = LookAhead(
        bench.ledger, lambda _: None, period_s=1.0, patience_s=10.0, batch_s=120.0, monotonic=bench.clock
    )
    ahead.look()
    return ahead


def leased_besides(
    bench: Bench, slow: Holder, fast: Holder, images: int, **fields: object
) -> tuple[str, Lease]:
    """A new job, and the lease on all of it: the slow node took it while the fast one was away."""
    bench.ledger.nodes.drain(fast.id)
    job = bench.submit(placed(images), **fields).job_id
    lease = slow.lease()
    bench.ledger.nodes.resume(fast.id)
    return job, lease


def test_the_last_shots_of_a_batch_are_taken_back_and_rendered_by_another_node(bench: Bench) -> None:
    slow = measured(bench, "slow", 10.0)
    job = bench.submit(placed(12)).job_id
    lease = slow.lease()
    fast = bench.join("fast")
    assert (len(lease.shots), fast.claim().lease) == (12, None)

    assert bench.ledger.batches.trim({lease.batch_id: 2}) == 2

    last = tuple(one.id for one in lease.shots[-2:])
    assert slow.beat(lease).cancelled == last
    check_ledger(bench.ledger)
    bench.finish(fast.lease())
    for index in range(10):
        bench.store(bench.deliver(lease, index).attempt_id)
    bench.close(lease)
    assert bench.counts(job) == {"done": 12}
    check_ledger(bench.ledger)


def test_the_node_hears_of_a_trim_at_once(bench: Bench) -> None:
    node = measured(bench, "node", 10.0)
    bench.submit(placed(12))
    lease = node.lease()
    told: list[set[str]] = []
    bench.ledger.commits.on_orders(lambda nodes: told.append(set(nodes)))

    bench.ledger.batches.trim({lease.batch_id: 1})

    call = Listen(incarnation=node.joined.incarnation, batch_id=lease.batch_id, token=lease.token)
    assert told == [{"node"}]
    assert good(bench.ledger.nodes.orders([(node.id, call)])).cancelled == (lease.shots[-1].id,)


def test_the_first_pass_stays_whatever_is_asked_for(bench: Bench) -> None:
    node = measured(bench, "node", 10.0)
    bench.submit(placed(12))
    lease = node.lease()
    assert bench.ledger.batches.trim({lease.batch_id: 100}) == len(lease.shots) - lease.pass_size
    assert bench.ledger.batches.trim({lease.batch_id: 100}) == 0


def test_a_batch_that_has_ended_is_left_alone(bench: Bench) -> None:
    node = measured(bench, "node", 10.0)
    bench.submit(placed(12))
    lease = node.lease()
    bench.close(lease, "released")
    assert bench.ledger.batches.trim({lease.batch_id: 2, "b-unknown": 1}) == 0


def test_what_a_node_renders_although_it_was_taken_back_is_stored_for_nobody(bench: Bench) -> None:
    node = measured(bench, "node", 10.0)
    bench.submit(placed(12))
    lease = node.lease()
    bench.ledger.batches.trim({lease.batch_id: 1})
    index = len(lease.shots) - 1
    wish = GrantRequest(
        token=lease.token, shot_id=lease.shots[index].id, sha256=SHA, size=100, content_type="image/png"
    )

    with pytest.raises(Conflict, match="is released and needs no upload"):
        good(bench.ledger.batches.grants([(lease.batch_id, wish)]))
    reported = bench.deliver(lease, index)

    assert (reported.state, reported.repeated, reported.attempt_id) == ("waiting", True, None)
    check_ledger(bench.ledger)


def test_a_claim_that_is_repeated_gets_the_lease_without_what_was_taken_back(bench: Bench) -> None:
    node = measured(bench, "node", 10.0)
    bench.submit(placed(12))
    lease = node.lease(ticket="t")
    bench.ledger.batches.trim({lease.batch_id: 2})
    assert node.lease(ticket="t").shots == lease.shots[:-2]


def test_what_is_taken_back_is_no_more_reserved_or_counted_as_served(bench: Bench) -> None:
    node = measured(bench, "node", 10.0)
    job = bench.submit(placed(12), max_cost=100.0).job_id
    lease = node.lease()
    before, used = bench.open_job(job), bench.use_of("ana")
    reserved, served = before.reserved[lease.batch_id], before.service_s

    bench.ledger.batches.trim({lease.batch_id: 3})

    after = bench.open_job(job)
    rest = 1 - 3 / len(lease.shots)
    assert after.reserved[lease.batch_id] == pytest.approx(reserved * rest)
    assert served - after.service_s == pytest.approx(30.0)
    assert used - bench.use_of("ana") == pytest.approx(30.0, rel=0.01)
    bench.restart()
    assert bench.open_job(job).reserved[lease.batch_id] == pytest.approx(reserved * rest)


def test_an_idle_node_gets_the_rest_of_a_slow_one(bench: Bench) -> None:
    fast, slow = measured(bench, "fast", 5.0), measured(bench, "slow", 20.0)
    _, lease = leased_besides(bench, slow, fast, images=6)
    assert (len(lease.shots), fast.claim().lease) == (6, None), "nothing is left for the fast one"
    ahead = look(bench)
    bench.clock.now += 1

    ahead.look()

    other = fast.lease()
    assert {one.id for one in other.shots} <= {one.id for one in lease.shots[2:]}
    assert slow.beat(lease).cancelled


def test_a_short_job_of_another_owner_does_not_wait_for_whole_batches(bench: Bench) -> None:
    node = measured(bench, "node", 10.0)
    bench.submit(placed(500))
    for _ in range(3):
        bench.finish(node.lease(), work(10.0))
    lease = node.lease()
    assert len(lease.shots) > 8
    bench.submit(placed(2, first=900), owner="ben")

    look(bench)

    assert slow_rest(bench, lease.batch_id) == lease.pass_size


def slow_rest(bench: Bench, batch_id: str) -> int:
    """Images that the node of a batch still renders."""
    with bench.ledger.transactions.backlog() as backlog:
        return next(batch.left for batch in backlog.running.values() if batch.id == batch_id)


def test_a_restarted_coordinator_knows_what_runs(bench: Bench) -> None:
    node = measured(bench, "node", 10.0)
    bench.submit(placed(12))
    lease = node.lease()
    bench.deliver(lease, 0)

    bench.restart()

    check_ledger(bench.ledger)
    assert slow_rest(bench, lease.batch_id) == len(lease.shots) - 1

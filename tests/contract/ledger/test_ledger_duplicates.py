"""A shot that two nodes render: the first delivery counts, the other ends, and no failure counts twice."""

from __future__ import annotations

import pytest

from common.errors import Conflict
from common.messages import GrantRequest, Lease, Listen
from coordinator.ledger.schema import batches, tallies
from coordinator.scheduling.running import Copy
from tests.contract.ledger.bench import SHA, TIMING, Bench, good, work
from tests.contract.ledger.test_ledger_trims import leased_besides, look, measured
from tests.ledger_rules import check_ledger


class Pair:
    """A slow node that renders two shots, and a fast one that duplicates them."""

    def __init__(self, bench: Bench, images: int = 2, **job: object) -> None:
        self.bench = bench
        self.fast, self.slow = measured(bench, "fast", 5.0), measured(bench, "slow", 60.0)
        self.job, self.first = leased_besides(bench, self.slow, self.fast, images=2, **job)
        bench.ledger.backlog.adopt({}, {"fast": Copy(self.first.batch_id, self.job, images)})
        self.second = self.fast.claim().lease

    @property
    def copy(self) -> Lease:
        assert self.second is not None
        return self.second

    def spent(self, label: str) -> float:
        """Seconds of cards of a kind."""
        return sum(
            row.value for row in self.bench.rows(tallies) if (row.kind, row.label) == ("seconds", label)
        )


def test_the_first_delivery_counts_and_the_other_node_stops_at_once(bench: Bench) -> None:
    pair = Pair(bench)
    assert [one.id for one in pair.copy.shots] == [one.id for one in pair.first.shots]
    check_ledger(bench.ledger)
    told: list[set[str]] = []
    bench.ledger.commits.on_orders(lambda nodes: told.append(set(nodes)))

    delivered = bench.deliver(pair.copy, 0)

    check_ledger(bench.ledger)
    call = Listen(
        incarnation=pair.slow.joined.incarnation, batch_id=pair.first.batch_id, token=pair.first.token
    )
    beaten = pair.first.shots[0].id
    assert told == [{"slow"}]
    assert good(bench.ledger.nodes.orders([(pair.slow.id, call)])).cancelled == (beaten,)
    bench.store(delivered.attempt_id)
    bench.store(bench.deliver(pair.first, 1).attempt_id)
    assert pair.fast.beat(pair.copy).cancelled == (pair.copy.shots[1].id,)
    bench.close(pair.first, spent=work(50.0))
    bench.close(pair.copy, spent=work(9.0))
    assert bench.counts(pair.job) == {"done": 2}
    # Without the two seconds that each stored image took.
    assert (pair.spent("duplicate"), pair.spent("lost")) == (pytest.approx(55.0), 0.0)
    check_ledger(bench.ledger)


def test_what_the_slower_node_renders_is_refused_and_both_reports_in_one_commit_store_one(
    bench: Bench,
) -> None:
    pair = Pair(bench)
    bench.deliver(pair.copy, 0)
    shot = pair.first.shots[0].id
    wish = GrantRequest(token=pair.first.token, shot_id=shot, sha256=SHA, size=100, content_type="image/png")
    with pytest.raises(Conflict, match="is released and needs no upload"):
        good(bench.ledger.batches.grants([(pair.first.batch_id, wish)]))
    late = bench.deliver(pair.first, 0)
    assert (late.state, late.repeated, late.attempt_id) == ("delivered", True, None)
    check_ledger(bench.ledger)


@pytest.mark.parametrize("winner", ["original", "copy"])
def test_a_failure_of_one_changes_nothing_while_the_other_renders(bench: Bench, winner: str) -> None:
    pair = Pair(bench)
    wins, fails = (pair.first, pair.copy) if winner == "original" else (pair.copy, pair.first)

    assert bench.fail(fails, "black_image").state == "running"
    check_ledger(bench.ledger)
    bench.close(fails, "failed", failure="engine_died", spent=work(5.0))
    check_ledger(bench.ledger)

    for index in range(2):
        row = bench.shot_row(wins.shots[index].id)
        assert (row.state, row.attempts, row.crashes) == ("running", 0, 0)
    bench.finish(wins)
    assert bench.counts(pair.job) == {"done": 2}
    check_ledger(bench.ledger)


def test_a_duplicate_takes_over_from_a_node_that_died_and_its_own_failure_does_not_count(
    bench: Bench,
) -> None:
    pair = Pair(bench)
    while pair.first.batch_id in {row.id for row in bench.rows(batches) if row.state == "leased"}:
        bench.clock.now += TIMING.sweep_s
        pair.fast.beat(pair.copy)
        bench.ledger.sweep()
    assert bench.counts(pair.job) == {"running": 2}
    check_ledger(bench.ledger)

    assert bench.fail(pair.copy, "black_image").state == "waiting"
    bench.close(pair.copy, "failed", failure="engine_died", spent=work(5.0))

    rows = [bench.shot_row(one.id) for one in pair.copy.shots]
    assert [(row.state, row.attempts, row.crashes) for row in rows] == [("waiting", 0, 0)] * 2
    check_ledger(bench.ledger)


def test_a_rejected_upload_of_a_duplicate_does_not_count(bench: Bench) -> None:
    pair = Pair(bench)
    bench.store(bench.deliver(pair.copy, 0).attempt_id, outcome="rejected", failure="black_image")
    row = bench.shot_row(pair.copy.shots[0].id)
    assert (row.state, row.attempts) == ("waiting", 0)
    check_ledger(bench.ledger)


def test_a_shot_is_duplicated_once(bench: Bench) -> None:
    pair = Pair(bench, images=1)
    bench.fail(pair.copy, "black_image")
    bench.close(pair.copy)
    third = bench.join("third")
    for images, expected in ((1, [pair.first.shots[1].id]), (2, [])):
        bench.ledger.backlog.adopt({}, {"third": Copy(pair.first.batch_id, pair.job, images)})
        lease = third.claim().lease
        assert [one.id for one in lease.shots] == expected if lease else expected == []
        if lease:
            bench.close(lease, "released")
    check_ledger(bench.ledger)


def test_a_duplicate_is_not_trimmed_nor_duplicated(bench: Bench) -> None:
    pair = Pair(bench)
    assert bench.ledger.batches.trim({pair.copy.batch_id: 1}) == 0
    third = bench.join("third")
    bench.ledger.backlog.adopt({}, {"third": Copy(pair.copy.batch_id, pair.job, 1)})
    assert third.claim().lease is None


def test_a_duplicate_needs_room_in_the_budget(bench: Bench) -> None:
    pair = Pair(bench, images=1, max_cost=100.0)
    bench.close(pair.copy, "released")
    with bench.ledger.transactions.backlog() as backlog:
        job = backlog.jobs[pair.job]
        job.max_cost = job.cost + sum(job.reserved.values())
    bench.ledger.backlog.adopt({}, {"fast": Copy(pair.first.batch_id, pair.job, 1)})
    assert pair.fast.claim().lease is None
    with bench.ledger.transactions.backlog() as backlog:
        backlog.jobs[pair.job].max_cost = 100.0
    assert pair.fast.claim().lease is not None


def test_a_cancelled_job_ends_both(bench: Bench) -> None:
    pair = Pair(bench)
    bench.ledger.jobs.cancel(pair.job)
    for node, lease in ((pair.slow, pair.first), (pair.fast, pair.copy)):
        assert node.beat(lease).cancelled == tuple(one.id for one in lease.shots)
        bench.close(lease)
        check_ledger(bench.ledger)
    assert bench.counts(pair.job) == {"cancelled": 2}


def test_a_claim_that_is_repeated_when_all_is_beaten_asks_for_the_next_ticket(bench: Bench) -> None:
    pair = Pair(bench)
    ticket = next(row.ticket for row in bench.rows(batches) if row.id == pair.copy.batch_id)
    for index in range(2):
        bench.deliver(pair.first, index)
    with pytest.raises(Conflict, match="take the next ticket"):
        pair.fast.claim(ticket)
    assert pair.fast.claim().lease is None
    check_ledger(bench.ledger)


def test_the_farm_says_that_a_node_duplicates(bench: Bench) -> None:
    pair = Pair(bench)
    for subject in ("fast", pair.copy.shots[0].id):
        said = " ".join(bench.ledger.explain(subject, version="1").sentences)
        assert f"as a duplicate of a part of batch {pair.first.batch_id}, whose node is slower" in said


def test_a_restarted_coordinator_knows_duplicates(bench: Bench) -> None:
    pair = Pair(bench)
    bench.restart()
    check_ledger(bench.ledger)
    bench.finish(pair.copy)
    assert bench.counts(pair.job) == {"done": 2}
    bench.close(pair.first)
    check_ledger(bench.ledger)


def test_an_idle_node_duplicates_the_last_pass_of_a_slow_one(bench: Bench) -> None:
    fast, slow = measured(bench, "fast", 1.0), measured(bench, "slow", 60.0)
    _, lease = leased_besides(bench, slow, fast, images=2)
    ahead = look(bench)
    bench.clock.now += 1
    assert set(bench.ledger.backlog.ticket_demand()) == {("public", 8)}

    duplicate = fast.lease()

    assert {one.id for one in duplicate.shots} <= {one.id for one in lease.shots}
    marks = {row.id: row.duplicates for row in bench.rows(batches)}
    assert marks[duplicate.batch_id] == lease.batch_id
    bench.clock.now += 1
    ahead.look()
    assert bench.ledger.backlog.ticket_demand() == {}
    check_ledger(bench.ledger)

"""Shares: jobs and owners are served by turns, by what they had of late."""

from __future__ import annotations

import pytest

from common.messages import Spent
from coordinator.ledger.schema import attempts
from coordinator.scheduling.fairness import HALF_LIFE_S
from tests.contract.ledger.bench import Bench, Holder, placed, work


def _serve(bench: Bench, node: Holder, batches: int) -> list[str]:
    """Whose shots the node is given, batch by batch."""
    served = []
    for _ in range(batches):
        lease = node.lease()
        served.append(next(row.job_id for row in bench.rows(attempts) if row.batch_id == lease.batch_id))
        bench.finish(lease, work(60.0))
    return served


def test_a_newcomer_shares_with_the_job_in_work_though_an_older_one_got_little(bench: Bench) -> None:
    node = bench.join()
    bench.submit(placed(2))
    _serve(bench, node, 1)
    old = bench.submit(placed(30, first=100)).job_id
    _serve(bench, node, 6)

    new = bench.submit(placed(30, first=200)).job_id

    assert sorted(_serve(bench, node, 4)) == sorted([old, new] * 2)


def test_ten_shots_of_one_owner_do_not_wait_for_the_many_jobs_of_another(bench: Bench) -> None:
    node = bench.join()
    for first in (1000, 2000, 3000):
        bench.submit(placed(500, first=first), owner="studio")
    _serve(bench, node, 6)

    shop = bench.submit(placed(10), owner="shop").job_id

    assert {*_serve(bench, node, 2)} == {shop}


@pytest.mark.parametrize(("waited_s", "next_owner"), [(0.0, "shop"), (HALF_LIFE_S, "studio")])
def test_an_owner_who_had_much_has_its_turn_sooner_the_longer_ago_that_was(
    bench: Bench, waited_s: float, next_owner: str
) -> None:
    node = bench.join()
    jobs = {"studio": bench.submit(placed(30), owner="studio").job_id}
    _serve(bench, node, 5)
    bench.clock.now += waited_s
    jobs["shop"] = bench.submit(placed(30, first=100), owner="shop").job_id

    # Then it had three fifths of what the studio had: less than all of that, more than the half.
    assert {*_serve(bench, node, 3)} == {jobs["shop"]}

    assert _serve(bench, node, 1) == [jobs[next_owner]]


def test_a_new_coordinator_knows_what_owners_had_lately(bench: Bench) -> None:
    bench.ages = False
    node = bench.join()
    bench.submit(placed(30), owner="studio")
    for _ in range(3):
        lease = node.lease()
        bench.clock.now += 60.0 * len(lease.shots)
        bench.finish(lease, work(60.0))
    before = bench.use_of("studio")

    bench.restart()

    assert bench.use_of("studio") == pytest.approx(before)
    assert before > 0


def test_a_batch_counts_for_its_owner_what_it_took_once_it_is_over(bench: Bench) -> None:
    bench.submit(placed(40), owner="studio")
    node = bench.join()
    bench.finish(node.lease(), work(60.0))
    assert bench.use_of("studio") == pytest.approx(120.0), "nothing told before what the first pass took"

    lease = node.lease()
    assert bench.use_of("studio") == pytest.approx(120.0 + 60.0 * len(lease.shots))
    bench.close(lease, "released", spent=work(5.0))

    assert bench.use_of("studio") == pytest.approx(125.0)


def test_what_was_in_hand_at_a_restart_counts_for_its_owner_in_the_end(bench: Bench) -> None:
    bench.ages = False
    bench.submit(placed(40), owner="studio")
    node = bench.join()
    lease = node.lease()
    bench.clock.now += 30.0
    attempt = bench.deliver(lease, spent=work(30.0)).attempt_id
    bench.restart()
    assert bench.use_of("studio") == pytest.approx(30.0, rel=0.01)

    bench.store(attempt)
    bench.clock.now += 24.0
    bench.store(bench.deliver(lease, 1, work(20.0)).attempt_id)
    bench.close(lease, load=Spent(seconds={"load": 4.0}))

    assert bench.use_of("studio") == pytest.approx(54.0, rel=0.02)


def test_a_cancelled_job_counts_for_its_owner_what_it_had(bench: Bench) -> None:
    job = bench.submit(placed(40), owner="studio").job_id
    node = bench.join()
    bench.finish(node.lease(), work(60.0))
    lease = node.lease()
    bench.ledger.jobs.cancel(job)

    bench.close(lease, "released", spent=work(3.0))

    assert bench.use_of("studio") == pytest.approx(123.0)


def test_resuming_an_active_job_gives_it_no_second_share(bench: Bench) -> None:
    node = bench.join()
    one = bench.submit(placed(30)).job_id
    _serve(bench, node, 3)
    bench.submit(placed(30, first=100))
    _serve(bench, node, 1)
    before = bench.open_job(one).service_s

    bench.ledger.jobs.resume(one)

    assert bench.open_job(one).service_s == before > 0


def test_a_job_that_changes_its_priority_shares_with_its_new_rivals(bench: Bench) -> None:
    node = bench.join()
    late = bench.submit(placed(30)).job_id
    first = bench.submit(placed(30, first=100), priority=80).job_id
    _serve(bench, node, 6)

    bench.ledger.jobs.prioritise(late, 80)

    assert first in _serve(bench, node, 4)


def test_a_new_job_shares_with_those_of_its_owner_whatever_other_owners_had(bench: Bench) -> None:
    nodes = bench.join("studio", models=("tiny",)), bench.join("shop", models=("other",))
    bench.submit(placed(500), owner="studio")
    old = bench.submit(placed(500, model="other"), owner="shop").job_id
    _serve(bench, nodes[0], 20)
    _serve(bench, nodes[1], 2)

    new = bench.submit(placed(10, first=1000, model="other"), owner="shop").job_id

    assert sorted(_serve(bench, nodes[1], 4)) == sorted([old, new] * 2)


def test_a_batch_that_is_given_back_counts_for_nothing_in_its_jobs_share(bench: Bench) -> None:
    node = bench.join()
    job = bench.submit(placed(30)).job_id
    _serve(bench, node, 2)
    before = bench.open_job(job).service_s

    bench.close(node.lease(), "released")

    assert bench.open_job(job).service_s == pytest.approx(before)

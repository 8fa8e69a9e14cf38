"""The operator's verbs for jobs and shots, and two jobs that want the same shots."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import Conflict, NotFound
from coordinator.ledger.schema import attempts, shots
from tests.contract.ledger.bench import Bench, Holder, placed, placed_one, shot, work


def _fail_for_good(bench: Bench, node: Holder) -> str:
    """Fail the next shot until it is given up; its id."""
    for _ in range(3):
        lease = node.lease()
        bench.fail(lease, "invalid_spec")
        bench.close(lease, "released")
        bench.rest()
    return lease.shots[0].id


def test_retry_gives_a_fresh_start_to_what_failed_and_to_nothing_else(bench: Bench) -> None:
    shared, other = bench.submit(placed(2)).job_id, bench.submit(placed(1, first=1)).job_id
    node = bench.join()
    _fail_for_good(bench, node)
    bench.finish(node.lease())
    assert bench.counts(shared) == {"failed": 1, "done": 1}

    assert bench.ledger.jobs.retry(other) == 0
    assert bench.ledger.jobs.retry(shared) == 1

    assert bench.counts(shared) == {"waiting": 1, "done": 1}
    row = next(row for row in bench.rows(shots) if row.state == "waiting")
    assert (row.attempts, row.crashes, row.failure, row.reason) == (0, 0, "", "")


def test_retry_goes_on_with_a_job_that_paused_itself_but_not_with_a_cancelled_one(bench: Bench) -> None:
    job = bench.submit(placed(1)).job_id
    node = bench.join()
    _fail_for_good(bench, node)
    bench.ledger.jobs.pause(job, "too many failed")

    bench.ledger.jobs.retry(job)
    assert bench.ledger.jobs.view(job).intent == "active"
    bench.ledger.jobs.cancel(job)
    with pytest.raises(Conflict, match="farm requeue"):
        bench.ledger.jobs.retry(job)
    assert bench.ledger.jobs.requeue(job) == 1


def test_one_failed_shot_is_accepted_by_the_beginning_of_its_id(bench: Bench) -> None:
    job = bench.submit(placed(2)).job_id
    node = bench.join()
    failed = _fail_for_good(bench, node)
    bench.finish(node.lease())

    assert bench.ledger.shots.accept(failed[:10]) == failed

    assert bench.counts(job) == {"accepted": 1, "done": 1}
    assert bench.ledger.jobs.view(job).status == "done"
    with pytest.raises(Conflict, match="may have been accepted already"):
        bench.ledger.shots.accept(failed)
    for unknown in ("0" * 64, failed[:5], "not-hexadecimal"):
        with pytest.raises(NotFound, match="at least the first 6 digits"):
            bench.ledger.shots.accept(unknown)


def test_an_owner_who_accepts_a_failed_shot_decides_for_no_other_owner(bench: Bench) -> None:
    mine = bench.submit(placed(1), owner="ana").job_id
    failed = _fail_for_good(bench, bench.join())
    theirs = bench.submit(placed(1), owner="ben").job_id
    bench.rest()
    _fail_for_good(bench, bench.join())
    with pytest.raises(Conflict, match="select one with `--job`"):
        bench.ledger.shots.accept(failed)

    assert bench.ledger.shots.accept(failed, mine) == failed

    assert (bench.counts(mine), bench.ledger.jobs.view(mine).status) == ({"accepted": 1}, "done")
    assert (bench.counts(theirs), bench.ledger.jobs.view(theirs).status) == ({"failed": 1}, "failed")
    assert bench.ledger.jobs.accept_failures(theirs) == 1
    assert {job.status for job in bench.jobs()} == {"done"}


def test_an_accepted_shot_counts_as_done_once_another_job_had_it_rendered(bench: Bench) -> None:
    mine = bench.submit(placed(1), owner="ana").job_id
    failed = _fail_for_good(bench, bench.join())
    bench.ledger.shots.accept(failed)
    bench.submit(placed(1), owner="ben")
    bench.rest()
    bench.finish(bench.join("fresh").lease())
    assert bench.counts(mine) == {"done": 1}


def test_a_requeued_job_tries_accepted_shots_again_too(bench: Bench) -> None:
    job = bench.submit(placed(1)).job_id
    bench.ledger.shots.accept(_fail_for_good(bench, bench.join()))
    assert bench.ledger.jobs.retry(job) == 0
    assert bench.ledger.jobs.requeue(job) == 1
    assert bench.counts(job) == {"waiting": 1}


def test_what_fits_no_class_is_unschedulable_again_when_it_is_requeued(bench: Bench) -> None:
    misfit = placed_one(shot(1, width=9000), 0, "needs 90 GB; 4096 fit")
    job = bench.submit([misfit]).job_id
    bench.ledger.jobs.cancel(job)
    assert bench.counts(job) == {"cancelled": 1}

    bench.ledger.jobs.requeue(job)

    assert bench.counts(job) == {"unschedulable": 1}
    assert bench.ledger.jobs.view(job).failures[0].message == "needs 90 GB; 4096 fit"


def test_what_was_given_up_for_want_of_a_class_waits_once_a_job_comes_that_knows_one(bench: Bench) -> None:
    job = bench.submit([placed_one(shot(1), 0, "fits nothing")]).job_id
    bench.ledger.jobs.cancel(job)

    again = bench.submit([placed_one(shot(1))]).job_id

    assert bench.counts(again) == {"waiting": 1}
    assert len(bench.join().lease().shots) == 1


def test_priority_and_cancel_act_on_what_is_not_leased_yet(bench: Bench) -> None:
    first, second = bench.submit(placed(4)).job_id, bench.submit(placed(4, first=10)).job_id
    node = bench.join()

    bench.ledger.jobs.prioritise(second, 80)
    lease = node.lease()
    assert {row.job_id for row in bench.rows(attempts)} == {second}
    bench.close(lease, "released")
    bench.ledger.jobs.cancel(second)

    node.lease()
    assert {row.job_id for row in bench.rows(attempts) if row.state == "running"} == {first}


STOPS = ("cancel", "pause", "budget")


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(stop=st.sampled_from(STOPS), before=st.integers(0, 3), own=st.integers(0, 3), shared=st.integers(1, 6))
def test_a_shot_that_two_jobs_want_is_made_once_whatever_becomes_of_one_of_them(
    bench: Bench, stop: str, before: int, own: int, shared: int
) -> None:
    bench.clear()
    limits = {"max_cost": 1e-9} if stop == "budget" else {}
    stopped = bench.submit(placed(own + shared), priority=90, **limits).job_id
    going = bench.submit(placed(shared, first=own)).job_id
    node = bench.join()
    for _ in range(before):
        if lease := node.claim().lease:
            bench.finish(lease, work(60.0))
    lease = node.claim().lease

    if stop != "budget":
        verb = {"cancel": bench.ledger.jobs.cancel, "pause": bench.ledger.jobs.pause}[stop]
        verb(stopped)
    if lease:
        bench.finish(lease, work(60.0))
    bench.ledger.sweep()
    while lease := node.claim().lease:
        bench.finish(lease, work(60.0))
        bench.ledger.sweep()

    assert bench.counts(going) == {"done": shared}
    stored = [row.shot_id for row in bench.rows(attempts) if row.state == "stored"]
    assert len(stored) == len(set(stored))
    left = {"cancel": "cancelled", "pause": "waiting", "budget": "waiting"}[stop]
    assert bench.counts(stopped).keys() <= {"done", left}

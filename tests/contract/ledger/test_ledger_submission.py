"""Submission and what jobs want."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from common.errors import Conflict, NotFound, Unavailable
from common.views import JobSummary
from coordinator.ledger import PlacedShot
from coordinator.ledger.schema import wants
from tests.contract.ledger.bench import Bench, placed, placed_one, shot


def test_new_shots_wait_and_are_counted(bench: Bench) -> None:
    submitted = bench.submit(placed(3))

    assert (submitted.images, submitted.new, submitted.reused, submitted.shared) == (3, 3, 0, 0)
    assert bench.counts(submitted.job_id) == {"waiting": 3}
    assert bench.ledger.jobs.view(submitted.job_id).status == "waiting"


def test_a_submission_larger_than_a_chunk_is_whole(bench: Bench) -> None:
    submitted = bench.submit(placed(5001))

    assert bench.counts(submitted.job_id) == {"waiting": 5001}
    assert [image.position for image in bench.ledger.shots.of_job(submitted.job_id, after=4998)] == [
        4999,
        5000,
    ]


def test_a_stored_shot_is_reused_and_never_rendered_again(bench: Bench) -> None:
    first = bench.submit(placed(2))
    node = bench.join()
    bench.finish(node.lease())

    known = placed(3)
    assert set(bench.ledger.images.stored([one.planned.id for one in known])) == {
        one.planned.id for one in known[:2]
    }
    second = bench.submit(placed(2))

    assert (second.new, second.reused) == (0, 2)
    assert bench.ledger.jobs.view(second.job_id).status == "done"
    assert bench.ledger.jobs.view(first.job_id).cost > 0
    assert bench.ledger.jobs.view(second.job_id).cost == 0
    assert node.claim().nothing is not None


def test_shots_that_another_job_waits_for_are_shared(bench: Bench) -> None:
    bench.submit(placed(3))
    second = bench.submit(placed(4, first=1))

    assert (second.new, second.shared) == (2, 2)
    assert bench.counts(second.job_id) == {"waiting": 4}


def test_one_shot_under_two_names_is_one_image_with_both_names(bench: Bench) -> None:
    one = shot()
    submitted = bench.submit([placed_one(one, name="a"), placed_one(one, name="b")])

    assert submitted.images == 1
    assert bench.counts(submitted.job_id) == {"waiting": 1}
    assert [image.name for image in bench.ledger.shots.of_job(submitted.job_id)] == ["a", "b"]


def test_a_shot_that_fits_no_class_is_unschedulable_with_its_reason(bench: Bench) -> None:
    submitted = bench.submit([placed_one(shot(width=4096), 0, "4096 pixels need 24 GB; 1024 fit")])

    assert submitted.misfits == {"4096 pixels need 24 GB; 1024 fit": 1}
    assert bench.counts(submitted.job_id) == {"unschedulable": 1}
    assert bench.ledger.shots.of_job(submitted.job_id)[0].message == "4096 pixels need 24 GB; 1024 fit"


def test_an_unschedulable_shot_waits_once_a_node_that_takes_it_joins(bench: Bench) -> None:
    submitted = bench.submit([placed_one(shot(width=4096), 0, "too large")])
    bench.join("small", 8)
    assert bench.counts(submitted.job_id) == {"unschedulable": 1}

    large = bench.join("large", 24)

    assert bench.counts(submitted.job_id) == {"waiting": 1}
    assert len(large.lease().shots) == 1


def test_a_submission_that_breaks_off_leaves_nothing_to_claim(bench: Bench) -> None:
    def broken() -> Iterator[PlacedShot]:
        yield from placed(2)
        raise RuntimeError("the manifest's file went away")

    with pytest.raises(RuntimeError, match="went away"):
        bench.submit(broken())

    assert [job.intent for job in bench.jobs()] == ["cancelled"]
    assert bench.join().claim().nothing is not None


def test_cancelling_one_of_two_jobs_leaves_the_shared_shots_to_the_other(bench: Bench) -> None:
    first = bench.submit(placed(4))
    second = bench.submit(placed(2, first=2))

    bench.ledger.jobs.cancel(first.job_id)

    assert bench.ledger.jobs.view(first.job_id).counts == {"cancelled": 2, "waiting": 2}
    assert bench.ledger.jobs.view(first.job_id).status == "cancelled"
    assert bench.counts(second.job_id) == {"waiting": 2}
    lease = bench.join().lease()
    assert {bench.shot_row(one.id).state for one in lease.shots} == {"running"}
    assert len(lease.shots) == 2


def test_a_cancelled_job_names_the_job_of_its_owner_that_keeps_its_shots_going(bench: Bench) -> None:
    cancelled = bench.submit(placed(6)).job_id
    mine = bench.submit(placed(2)).job_id
    bench.submit(placed(4), owner="zoe")
    bench.ledger.jobs.cancel(bench.submit(placed(6), owner="bo").job_id)
    assert bench.ledger.jobs.view(cancelled).shared == {}
    bench.ledger.jobs.cancel(cancelled)
    view = bench.ledger.jobs.view(cancelled)
    assert view.shared == {mine: 2, "": 2}
    assert view.counts == {"waiting": 4, "cancelled": 2}


def test_shared_shots_are_rendered_once_and_cost_the_job_they_were_claimed_for(bench: Bench) -> None:
    first = bench.submit(placed(2))
    second = bench.submit(placed(2))
    bench.finish(bench.join().lease())

    costs = {job: bench.ledger.jobs.view(job).cost for job in (first.job_id, second.job_id)}
    assert sorted(cost > 0 for cost in costs.values()) == [False, True]
    paying = max(costs, key=lambda job: costs[job])
    reused = {(row.job_id, row.reused) for row in bench.rows(wants)}
    assert reused == {(job, job != paying) for job in costs}


def test_a_shot_in_hand_that_nobody_wants_any_more_is_named_in_the_heartbeat(bench: Bench) -> None:
    job = bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()
    bench.ledger.jobs.cancel(job.job_id)

    assert set(node.beat(lease).cancelled) == {one.id for one in lease.shots}
    bench.close(lease)
    assert bench.counts(job.job_id) == {"cancelled": 2}


def test_a_job_that_is_cancelled_while_it_is_submitted_leaves_nothing_waiting(bench: Bench) -> None:
    def cancelling() -> Iterator[PlacedShot]:
        yield from placed(5000)
        bench.ledger.jobs.cancel(bench.jobs()[0].id)
        yield from placed(10, first=5000)

    with pytest.raises(Conflict, match="cancelled during"):
        bench.submit(cancelling())

    (job,) = bench.jobs()
    assert set(job.counts) == {"cancelled"}


def test_a_new_job_that_wants_a_cancelled_shot_gets_it(bench: Bench) -> None:
    first = bench.submit(placed(1))
    bench.ledger.jobs.cancel(first.job_id)

    second = bench.submit(placed(1))

    assert bench.counts(second.job_id) == {"waiting": 1}
    assert len(bench.join().lease().shots) == 1


def test_a_paused_job_gives_nothing_and_a_resumed_one_does(bench: Bench) -> None:
    job = bench.submit(placed(2))
    node = bench.join()
    bench.ledger.jobs.pause(job.job_id, "lunch")

    assert bench.ledger.jobs.view(job.job_id).reason == "lunch"
    assert node.claim().nothing is not None

    bench.ledger.jobs.resume(job.job_id)
    assert node.claim().lease is not None


def test_a_cancelled_job_cannot_be_resumed_but_requeued(bench: Bench) -> None:
    job = bench.submit(placed(2))
    bench.ledger.jobs.cancel(job.job_id)

    with pytest.raises(Conflict, match="requeue"):
        bench.ledger.jobs.resume(job.job_id)
    assert bench.ledger.jobs.requeue(job.job_id) == 2
    assert bench.counts(job.job_id) == {"waiting": 2}


def test_priority_decides_which_job_is_served(bench: Bench) -> None:
    bench.submit(placed(2), priority=60)
    urgent = bench.submit(placed(2, first=10))
    bench.ledger.jobs.prioritise(urgent.job_id, 90)

    lease = bench.join().lease()

    assert {one.spec["seed"] for one in lease.shots} <= {10, 11}


def test_an_unknown_job_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotFound, match="farm jobs"):
        bench.ledger.jobs.view("j-none")


class Crash(BaseException):
    pass


def _cut_off(bench: Bench, *, paused: bool = False) -> JobSummary:
    """A submission during which the coordinator died, after the next start."""

    def dying() -> Iterator[PlacedShot]:
        yield from placed(1, width=4096, min_class=0)
        yield from placed(4999)
        if paused:
            bench.ledger.jobs.pause(bench.jobs()[0].id)
        bench.restart()  # the old coordinator can write no more: as if it were gone
        raise Crash

    with pytest.raises((Crash, Unavailable)):
        bench.submit(dying())
    bench.restart()
    (job,) = bench.jobs()
    return job


@pytest.mark.parametrize("paused", [False, True])
def test_a_submission_that_a_crash_cut_off_is_cancelled_at_the_next_start(bench: Bench, paused: bool) -> None:
    job = _cut_off(bench, paused=paused)

    assert (job.intent, job.counts) == ("cancelled", {"cancelled": 5000})
    assert "submit it again" in job.reason


def test_a_submission_that_was_cut_off_cannot_be_requeued(bench: Bench) -> None:
    job = _cut_off(bench)

    with pytest.raises(Conflict, match="submit it again"):
        bench.ledger.jobs.requeue(job.id)
    assert bench.counts(job.id) == {"cancelled": 5000}

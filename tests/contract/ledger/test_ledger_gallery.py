"""One shot in detail, stored files, and what an overview shows of jobs and their cost."""

from __future__ import annotations

import pytest

from common.errors import NotFound
from common.states import ShotState
from coordinator.ledger import ShotFilter
from coordinator.ledger.overview import Spending
from tests.contract.ledger.bench import SHA, START, Bench, placed, work

_DAY_S = 86400


def positions(bench: Bench, job: str, wanted: ShotFilter) -> list[int]:
    return [view.position for view in bench.ledger.shots.page(job, wanted, limit=100)[0]]


def half_done(bench: Bench) -> str:
    """Eight shots, some of which are stored by a node."""
    job, node = bench.submit(placed(8)).job_id, bench.join()
    lease = node.lease()
    bench.store(bench.deliver(lease, 0).attempt_id)
    bench.close(lease)
    return job


def test_a_gallery_is_filtered_by_node(bench: Bench) -> None:
    job = half_done(bench)
    (stored,) = positions(bench, job, ShotFilter(states=(ShotState.DONE,)))
    assert positions(bench, job, ShotFilter(node="node")) == [stored]
    assert positions(bench, job, ShotFilter(node="other")) == []
    assert positions(bench, job, ShotFilter(node="node", text="no such word")) == []


def test_a_shot_tells_where_its_image_comes_from(bench: Bench) -> None:
    job = half_done(bench)
    (stored,) = positions(bench, job, ShotFilter(node="node"))
    known = bench.ledger.shots.details(job, stored)
    assert known.origin is not None
    assert known.origin.seconds["denoise"] == 2.0
    assert (known.origin.recipe, known.origin.joules) == ("bf16", 100.0)
    assert (known.template, known.view.node, known.shot.seed) == ("a {colour} mug", "node", stored)
    waiting = bench.ledger.shots.details(job, 7)
    assert (waiting.origin, waiting.before, waiting.after) == (None, 6, None)
    assert bench.ledger.shots.details(job, 0).before is None
    with pytest.raises(NotFound, match="no image 8"):
        bench.ledger.shots.details(job, 8)


def test_stored_files_are_those_with_an_image(bench: Bench) -> None:
    job = half_done(bench)
    (file,) = bench.ledger.images.files(job)
    assert (file.name, file.sha256, file.size) == (f"tiny-{file.position}", SHA, 100)
    assert bench.ledger.images.file(job, file.position) == file
    with pytest.raises(NotFound, match="not stored"):
        bench.ledger.images.file(job, 7)


def test_an_overview_has_the_jobs_with_work_first_and_counts_the_others(bench: Bench) -> None:
    ids = [bench.submit(placed(1, first=number), owner="ana").job_id for number in range(15)]
    first = bench.submit(placed(1, first=20), owner="bo", priority=90).job_id
    bench.ledger.jobs.cancel(ids[-1])
    found = bench.ledger.jobs.overview()
    assert (len(found.jobs), found.more) == (12, 3)
    assert found.jobs[0].id == first
    assert ids[-1] not in [job.id for job in found.jobs]
    mine = bench.ledger.jobs.overview("bo")
    assert ([job.id for job in mine.jobs], mine.more) == ([first], 0)


def test_jobs_that_have_ended_leave_the_state_of_the_farm(bench: Bench) -> None:
    """Those that wait for somebody stay, and images of all count."""
    ended, cancelled, paused, waiting, theirs = (
        bench.submit(placed(2, first=10 * number), owner=owner).job_id
        for number, owner in enumerate(("ana", "ana", "ana", "ana", "bo"))
    )
    for job in (cancelled, paused, waiting, theirs):
        bench.ledger.jobs.pause(job)
    bench.finish(bench.join().lease())
    bench.ledger.jobs.cancel(cancelled)
    bench.ledger.jobs.resume(waiting)

    assert [job.id for job in bench.ledger.jobs.unfinished()] == [theirs, waiting, paused]
    assert [job.id for job in bench.ledger.jobs.unfinished("ana")] == [waiting, paused]
    assert ended in [job.id for job in bench.jobs()]
    images = [bench.ledger.accounts.images(owner) for owner in (None, "ana", "bo")]
    assert images == [2, 2, 0]


def test_progress_is_told_in_the_order_of_the_question(bench: Bench) -> None:
    ids = [bench.submit(placed(1, first=number)).job_id for number in range(3)]
    found = bench.ledger.jobs.progress([ids[2], "none", ids[0]])
    assert [(job.id, job.counts) for job in found] == [(ids[2], {"waiting": 1}), (ids[0], {"waiting": 1})]


def test_cost_and_images_count_for_the_owner_and_the_day_on_which_they_arise(bench: Bench) -> None:
    bench.clock.now = START - START % _DAY_S + _DAY_S - 100
    mine, node = bench.submit(placed(2)).job_id, bench.join()
    bench.finish(node.lease(), work(10.0, 5000.0))
    first = bench.ledger.jobs.overview().today
    assert first == Spending(bench.ledger.jobs.view(mine).cost, 2)
    bench.clock.now += 200
    theirs = bench.submit(placed(1, first=9), owner="bo").job_id
    node.beat()
    bench.finish(node.lease(), work(20.0, 5000.0))
    other = bench.ledger.jobs.view(theirs).cost
    found = bench.ledger.jobs.overview()
    assert found.today == Spending(pytest.approx(other), 1)
    assert found.month == Spending(pytest.approx(first.cost + other), 3)
    assert bench.ledger.jobs.overview("bo").month == Spending(pytest.approx(other), 1)
    assert bench.ledger.jobs.overview("ana").today == Spending(0.0, 0)

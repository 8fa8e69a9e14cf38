"""What the plan of a job said is kept with it, beside what the job takes."""

from __future__ import annotations

import pytest

from common.views import EstimateView, JobView
from tests.contract.ledger.bench import Bench, placed

PLAN = EstimateView(seconds=90.0, images=4, cost=0.5)


def job(bench: Bench, job_id: str) -> JobView:
    return bench.ledger.jobs.view(job_id)


def test_a_job_keeps_what_its_plan_said(bench: Bench) -> None:
    planned = bench.submit(placed(4), estimate=PLAN).job_id
    assert job(bench, planned).estimate == PLAN
    bench.restart()
    assert job(bench, planned).estimate == PLAN
    assert job(bench, bench.submit(placed(4, first=100)).job_id).estimate is None


def test_a_job_takes_from_its_submission_to_its_last_image(bench: Bench) -> None:
    mine, node = bench.submit(placed(4)).job_id, bench.join()
    while job(bench, mine).counts != {"done": 4}:
        assert job(bench, mine).took_s is None
        lease = node.lease()
        bench.clock.now += 30
        bench.finish(lease)
    batches = job(bench, mine).took_s
    assert batches is not None
    assert batches % 30 == 0
    bench.clock.now += 1000
    assert (job(bench, mine).took_s, job(bench, mine).rendered) == (batches, 4)


def test_what_a_job_takes_leaves_out_the_time_in_which_it_was_paused(bench: Bench) -> None:
    mine, node = bench.submit(placed(4)).job_id, bench.join()
    bench.clock.now += 10
    bench.ledger.jobs.pause(mine)
    bench.clock.now += 100
    bench.ledger.jobs.pause(mine, "again")
    bench.clock.now += 100
    bench.ledger.jobs.cancel(mine)
    bench.clock.now += 100
    bench.ledger.jobs.requeue(mine)
    bench.clock.now += 10
    while bench.counts(mine) != {"done": 4}:
        bench.finish(node.lease())
    found = job(bench, mine)
    assert (found.took_s, found.paused_s) == (20.0, 300.0)


def test_what_a_job_takes_leaves_out_the_time_until_it_was_retried(bench: Bench) -> None:
    mine, node = bench.submit(placed(1)).job_id, bench.join()
    for _ in range(3):
        bench.fail(lease := node.lease(), "render_error")
        bench.close(lease)
        bench.rest()
    assert job(bench, mine).status == "failed"
    failed_s = bench.clock.now - job(bench, mine).submitted_at
    bench.thin()
    bench.clock.now += 5000
    bench.ledger.jobs.retry(mine)
    bench.clock.now += 10
    bench.finish(node.lease())
    found = job(bench, mine)
    assert found.took_s == pytest.approx(failed_s + 10)
    assert found.paused_s == 5000


def test_jobs_that_share_shots_end_together_and_each_counts_what_was_rendered_for_it(bench: Bench) -> None:
    first = bench.submit(placed(4)).job_id
    second = bench.submit(placed(6)).job_id
    node = bench.join()
    while bench.counts(second) != {"done": 6}:
        lease = node.lease()
        bench.clock.now += 10
        bench.finish(lease)
    assert job(bench, first).rendered + job(bench, second).rendered == 6
    assert job(bench, first).took_s is not None
    stored = job(bench, bench.submit(placed(6)).job_id)
    assert (stored.status, stored.took_s, stored.rendered) == ("done", None, 0)

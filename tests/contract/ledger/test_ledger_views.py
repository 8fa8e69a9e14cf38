"""A job's status and failures: what people are shown is what its shots are."""

from __future__ import annotations

import pytest

from coordinator.ledger import JobFilter
from tests.contract.ledger.bench import Bench, placed, work


def _status(bench: Bench, job_id: str) -> str:
    (summary,) = [job for job in bench.jobs() if job.id == job_id]
    assert summary.status == bench.ledger.jobs.view(job_id).status
    return summary.status


def test_a_job_runs_only_while_a_node_or_ingest_has_one_of_its_shots(bench: Bench) -> None:
    job = bench.submit(placed(3)).job_id
    assert _status(bench, job) == "waiting"
    node = bench.join()
    lease = node.lease()
    assert _status(bench, job) == "running"
    attempt = bench.deliver(lease).attempt_id
    bench.close(lease, "released")
    assert _status(bench, job) == "running", "a picture is checked"
    bench.store(attempt)
    assert _status(bench, job) == "waiting", "one is stored, and nobody has the others"


def test_what_outgrew_the_largest_class_is_no_failure_of_the_job(bench: Bench) -> None:
    job = bench.submit(placed(1)).job_id
    lease = bench.join("big", 32).lease()
    bench.fail(lease, "out_of_memory")
    bench.close(lease)

    view = bench.ledger.jobs.view(job)

    assert _status(bench, job) == "unschedulable"
    assert [(one.state, one.kind, one.shots) for one in view.failures] == [
        ("unschedulable", "out_of_memory", 1)
    ]
    explained = bench.ledger.explain(job, version="0.1.0")
    assert any("1 shot fits no node" in sentence for sentence in explained.sentences)
    assert "failed" not in " ".join(explained.sentences)
    assert "a larger card" in explained.remedy
    assert "farm retry" not in explained.remedy


def test_shots_that_failed_and_such_that_fit_nothing_are_told_apart(bench: Bench) -> None:
    job = bench.submit([*placed(1), *placed(1, min_class=0, width=4096)]).job_id
    node = bench.join()
    for _ in range(3):
        node.fail("flat_image")
        bench.rest()

    found = {one.state: one.kind for one in bench.ledger.jobs.view(job).failures}
    assert found == {"failed": "flat_image", "unschedulable": "fits_nothing"}
    assert bench.ledger.jobs.view(job).eta_s is None


def test_each_reason_why_shots_fit_nothing_is_told_with_its_number_and_the_rarest_are_summed_up(
    bench: Bench,
) -> None:
    numbers = {"needs 40 GiB": 2, "needs 50 GiB": 4, "needs 60 GiB": 3, "needs 70 GiB": 1, "needs 80 GiB": 1}
    misfits = [
        one._replace(min_class=0, reason=reason)
        for place, (reason, number) in enumerate(numbers.items())
        for one in placed(number, first=10 * place)
    ]
    job = bench.submit(misfits).job_id

    assert [(one.message, one.shots) for one in bench.ledger.jobs.view(job).failures] == [
        ("needs 50 GiB", 4),
        ("needs 60 GiB", 3),
        ("needs 40 GiB", 2),
        ("2 more reasons", 2),
    ]
    explained = bench.ledger.explain(job, version="0.1.0").sentences
    assert "3 shots fit no node: needs 60 GiB." in explained
    assert "2 shots fit no node: 2 more reasons." in explained


def test_what_shows_jobs_reads_no_manifest(bench: Bench) -> None:
    """One may have megabytes, and pages that are open ask every two seconds."""
    job, ledger = bench.submit(placed(3)).job_id, bench.ledger
    with bench.counted_statements() as sent:
        assert ledger.jobs.view(job).id == job
        assert [one.id for one in ledger.jobs.unfinished()] == [job]
        assert [one.id for one in ledger.jobs.progress([job])] == [job]
        assert [one.id for one in ledger.jobs.overview().jobs] == [job]
        found, _ = ledger.jobs.page(None, JobFilter(statuses=("waiting",)), limit=1)
        assert [one.id for one in found] == [job]
        assert ledger.shots.of_job(job)
        assert ledger.explain(job, version="1").sentences
    assert sent
    assert not [statement for statement in sent if "manifest" in statement]
    assert ledger.jobs.manifest(job)


def test_prices_of_images_share_what_their_batches_cost_besides(bench: Bench) -> None:
    job, node = bench.submit(placed(4)).job_id, bench.join()
    for load_s in (10.0, 1.0):
        lease = node.lease()
        for index in range(2):
            bench.store(bench.deliver(lease, index).attempt_id)
        bench.close(lease, load=work(0.0, 100.0, load=load_s), spent=work(5.0, 300.0))

    images = bench.ledger.shots.of_job(job)
    shares = [image.overhead or 0.0 for image in images]
    assert shares[0] == shares[1] > shares[2] == shares[3] > 0
    prices = sum((image.cost or 0.0) + (image.overhead or 0.0) for image in images)
    assert prices == pytest.approx(bench.ledger.jobs.view(job).cost)
    again = bench.submit(placed(1), owner="bo").job_id
    assert bench.ledger.shots.details(again, 0).view.overhead == images[0].overhead


def test_a_node_has_its_newest_images_first_and_an_owner_sees_none_of_others(bench: Bench) -> None:
    jobs = {}
    for owner, first in (("ana", 0), ("bo", 10)):
        jobs[owner] = bench.submit(placed(2, first=first), owner=owner).job_id
        bench.clock.now += 60
        bench.finish(bench.join().lease())
    bench.submit(placed(1), owner="cleo")
    bench.join("other")

    found = bench.ledger.images.of_node("node")
    assert [image.job_id for image in found] == [jobs["bo"]] * 2 + [jobs["ana"]] * 2
    assert {(image.position, image.name) for image in found[2:]} == {(0, "tiny-0"), (1, "tiny-1")}
    assert {image.job_id for image in bench.ledger.images.of_node("node", "ana")} == {jobs["ana"]}
    assert bench.ledger.images.of_node("node", "cleo") == bench.ledger.images.of_node("other") == []

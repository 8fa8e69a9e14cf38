"""Reports: each counts once, and only from who holds the lease."""

from __future__ import annotations

import pytest

from common.errors import Conflict, Gone, Invalid, NotFound
from common.messages import GrantRequest, Lease, Report
from coordinator.ledger.schema import images
from tests.contract.ledger.bench import SHA, Bench, placed, work


def _grant(bench: Bench, lease: Lease, token: str | None = None) -> str:
    request = GrantRequest(
        token=token or lease.token,
        shot_id=lease.shots[0].id,
        sha256=SHA,
        size=100,
        content_type="image/png",
    )
    return bench.ledger.grant(lease.batch_id, request)


def test_a_shot_goes_from_claim_to_stored_with_its_sidecar(bench: Bench) -> None:
    job = bench.submit(placed(1))
    lease = bench.join().lease()
    shot_id = lease.shots[0].id

    reported = bench.deliver(lease, spent=work(2.0, 100.0, decode=0.5, upload=4.0))
    assert (reported.state, reported.repeated) == ("delivered", False)
    assert bench.store(reported.attempt_id, seconds=0.1).state == "done"
    bench.close(lease)

    assert bench.transitions(shot_id) == ["claimed", "delivered", "stored"]
    (image,) = bench.rows(images)
    assert (image.key, image.sha256, image.node_id) == (f"images/{shot_id[:2]}/{shot_id}.png", SHA, "node")
    assert (image.template, image.prompt) == ("a {colour} mug", "a red mug")
    assert (image.joules, image.energy_method) == (100.0, "sampled")
    assert image.seconds["decode"] == 0.5
    assert image.seconds["ingest"] == 0.1
    view = bench.ledger.images(job.job_id)[0]
    assert (view.state, view.sha256, view.node, view.name) == ("done", SHA, "node", "tiny-0")
    assert bench.ledger.job(job.job_id).status == "done"


def test_a_repeated_report_is_answered_alike_and_counts_once(bench: Bench) -> None:
    job = bench.submit(placed(1))
    lease = bench.join().lease()

    first, second = bench.deliver(lease), bench.deliver(lease)

    assert (first.repeated, second.repeated) == (False, True)
    assert first.attempt_id == second.attempt_id
    assert bench.transitions(lease.shots[0].id) == ["claimed", "delivered"]
    cost = bench.ledger.job(job.job_id).cost
    bench.deliver(lease)
    assert bench.ledger.job(job.job_id).cost == cost


def test_a_repeated_failure_counts_once(bench: Bench) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()
    bench.fail(lease, "flat_image")

    assert bench.fail(lease, "flat_image").repeated
    assert bench.shot_row(lease.shots[0].id).attempts == 1


def test_a_message_with_a_nul_is_kept_without_it(bench: Bench) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()
    bench.close(lease, "failed", failure="lora_rejected", message="bad\0 file")

    assert bench.shot_row(lease.shots[0].id).reason == "bad file"


def test_a_wrong_token_is_gone(bench: Bench) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()

    with pytest.raises(Gone, match="token"):
        bench.deliver(lease.model_copy(update={"token": "stolen"}))
    with pytest.raises(Gone, match="token"):
        _grant(bench, lease, "stolen")


def test_a_lease_that_is_over_takes_no_reports(bench: Bench) -> None:
    bench.submit(placed(1))
    node = bench.join()
    lease = node.lease()
    bench.join()

    with pytest.raises(Gone, match="vanished"):
        bench.deliver(lease)
    with pytest.raises(Gone, match="vanished"):
        bench.close(lease)
    with pytest.raises(Gone, match="vanished"):
        _grant(bench, lease)


def test_a_report_that_was_in_time_is_repeated_after_the_lease(bench: Bench) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()
    bench.deliver(lease)
    bench.join()

    assert bench.deliver(lease).repeated


def test_an_upload_is_granted_below_its_batch_and_once(bench: Bench) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()

    assert _grant(bench, lease) == f"quarantine/{lease.batch_id}/{lease.shots[0].id}/{SHA}"
    bench.deliver(lease)
    with pytest.raises(Conflict, match="needs no upload"):
        _grant(bench, lease)


def test_a_report_must_not_contradict_itself(bench: Bench) -> None:
    bench.submit(placed(2))
    lease = bench.join().lease()
    shot_id = lease.shots[0].id

    for wrong in (
        Report(token=lease.token, shot_id=shot_id, outcome="delivered"),
        Report(token=lease.token, shot_id=shot_id, outcome="delivered", key="x", sha256=SHA, size=1),
        Report(token=lease.token, shot_id=shot_id, outcome="failed"),
        Report(
            token=lease.token, shot_id=shot_id, outcome="failed", failure="stalled", spent=work(1, play=1)
        ),
    ):
        with pytest.raises(Invalid):
            bench.ledger.report(lease.batch_id, wrong)
    with pytest.raises(NotFound, match="holds no shot"):
        bench.ledger.report(lease.batch_id, Report(token=lease.token, shot_id="0" * 64, outcome="failed"))
    assert bench.shot_row(shot_id).state == "running"

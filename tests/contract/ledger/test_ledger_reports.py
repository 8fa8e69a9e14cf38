"""Reports, closings and verdicts: each counts once, and failures fall on whose fault they are."""

from __future__ import annotations

import pytest

from common.errors import Conflict, Gone, Invalid, NotFound
from common.messages import GrantRequest, Lease, Report
from common.nodes import GIB
from coordinator.ledger.schema import attempts, images
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


def test_a_shot_fails_for_good_after_three_failures_of_its_own(bench: Bench) -> None:
    job = bench.submit(placed(1))
    node = bench.join()
    states = []
    for _ in range(3):
        lease = node.lease()
        states.append(bench.fail(lease, "flat_image").state)
        bench.close(lease)
        bench.rest()

    assert states == ["waiting", "waiting", "failed"]
    view = bench.ledger.job(job.job_id)
    assert view.status == "failed"
    assert [(failure.kind, failure.shots) for failure in view.failures] == [("flat_image", 1)]


def test_a_nodes_own_failures_cost_the_shot_nothing_and_quarantine_the_node(bench: Bench) -> None:
    bench.submit(placed(1))
    node = bench.join()
    bench.past_the_grace()
    for _ in range(3):
        lease = node.lease()
        assert bench.fail(lease, "device_lost").state == "waiting"
        bench.close(lease, "released")

    assert bench.shot_row(lease.shots[0].id).attempts == 0
    assert bench.node_state() == "quarantined"
    refused = node.claim().nothing
    assert refused is not None
    assert "3 failures" in refused.reason
    assert node.beat().order == "drain"


def test_a_stored_picture_forgives_a_nodes_earlier_failures(bench: Bench) -> None:
    bench.submit(placed(20))
    node = bench.join()
    bench.past_the_grace()
    for kind in ("device_lost", "device_lost", "", "device_lost"):
        lease = node.lease()
        bench.fail(lease, kind) if kind else bench.store(bench.deliver(lease).attempt_id)
        bench.close(lease, "released")

    assert bench.node_state() == "ready"


def test_a_node_that_delivers_rubbish_only_is_quarantined(bench: Bench) -> None:
    bench.submit(placed(20))
    node = bench.join()
    bench.past_the_grace()
    for _ in range(3):
        lease = node.lease()
        attempt = bench.deliver(lease).attempt_id
        bench.store(attempt, outcome="rejected", failure="not_an_image")
        bench.close(lease, "released")

    assert bench.node_state() == "quarantined"


def test_a_node_whose_uploads_are_refused_is_quarantined(bench: Bench) -> None:
    bench.submit(placed(20))
    node = bench.join()
    bench.past_the_grace()
    for _ in range(3):
        lease = node.lease()
        bench.fail(lease, "upload_failed")
        bench.close(lease)

    assert bench.node_state() == "quarantined"


def test_out_of_memory_sends_a_shot_one_class_up(bench: Bench) -> None:
    bench.submit(placed(1))
    node = bench.join()
    lease = node.lease()

    assert bench.fail(lease, "out_of_memory").state == "waiting"
    bench.close(lease)
    row = bench.shot_row(lease.shots[0].id)
    assert (row.min_class, row.attempts) == (12, 0)
    assert node.claim().nothing is not None
    assert bench.join("larger", 12).claim().lease is not None


def test_out_of_memory_on_the_largest_class_is_unschedulable(bench: Bench) -> None:
    job = bench.submit(placed(1))
    lease = bench.join(vram_gib=32).lease()

    assert bench.fail(lease, "out_of_memory").state == "unschedulable"
    (failure,) = bench.ledger.job(job.job_id).failures
    assert failure.kind == "out_of_memory"
    assert "on 32 GB" in failure.message
    assert "a smaller size" in failure.message


@pytest.mark.parametrize("outcome", ["finished", "released"])
def test_what_a_closed_batch_left_undone_waits_again_without_blame(bench: Bench, outcome: str) -> None:
    job = bench.submit(placed(2))
    lease = bench.join().lease()
    bench.deliver(lease)

    assert bench.close(lease, outcome).state == "closed"
    assert bench.close(lease, outcome).repeated
    assert bench.counts(job.job_id) == {"delivered": 1, "waiting": 1}
    assert bench.shot_row(lease.shots[1].id).attempts == 0
    assert bench.node_state() == "ready"


def test_a_batch_that_failed_before_its_first_picture_charges_all_its_shots(bench: Bench) -> None:
    bench.submit(placed(2))
    lease = bench.join().lease()
    bench.close(lease, "failed", failure="lora_rejected", message="none of 12 layers took ana")

    for one in lease.shots:
        row = bench.shot_row(one.id)
        assert (row.state, row.attempts, row.reason) == ("waiting", 1, "none of 12 layers took ana")


def test_a_batch_that_failed_midway_charges_nobody_else(bench: Bench) -> None:
    bench.submit(placed(2))
    lease = bench.join().lease()
    bench.fail(lease, "stalled", 0)
    bench.close(lease, "failed", failure="stalled")

    assert [bench.shot_row(one.id).attempts for one in lease.shots] == [1, 0]


def test_a_batch_out_of_memory_sends_all_its_shots_one_class_up(bench: Bench) -> None:
    bench.submit(placed(2))
    lease = bench.join().lease()
    bench.close(lease, "oom", message="it ran out at 7 GiB", peak_bytes=7 * GIB)

    assert {bench.shot_row(one.id).min_class for one in lease.shots} == {12}
    kept = [(row.message, row.peak_bytes) for row in bench.rows(attempts)]
    assert kept == [("it ran out at 7 GiB", 7 * GIB)] * 2


def test_what_outgrew_the_largest_class_waits_for_a_card_with_more_than_its_peak(bench: Bench) -> None:
    job = bench.submit(placed(1))
    bench.close(bench.join(vram_gib=32).lease(), "oom", peak_bytes=31 * GIB)

    for gib in (24, 32):
        bench.join("other", gib)
        assert bench.counts(job.job_id) == {"unschedulable": 1}
    larger = bench.join("larger", 48)
    assert larger.claim().lease is not None


def test_a_job_pauses_itself_when_a_tenth_and_five_of_its_shots_failed(bench: Bench) -> None:
    job = bench.submit(placed(20))
    node = bench.join()
    while bench.ledger.job(job.job_id).intent == "active":
        lease = node.lease()
        for index in range(len(lease.shots)):
            bench.fail(lease, "flat_image", index)
        bench.close(lease)
        bench.rest()

    view = bench.ledger.job(job.job_id)
    assert view.intent == "paused"
    assert "5 of 20 shots failed" in view.reason
    # The second of the pass in which the job paused failed too.
    assert bench.ledger.requeue_job(job.job_id) == view.counts["failed"] == 6
    assert bench.ledger.job(job.job_id).intent == "active"


def test_accepted_failures_make_a_job_done(bench: Bench) -> None:
    job = bench.submit(placed(1))
    node = bench.join()
    for _ in range(3):
        lease = node.lease()
        bench.fail(lease, "flat_image")
        bench.close(lease)
        bench.rest()

    assert bench.ledger.accept_failures(job.job_id) == 1
    assert bench.ledger.job(job.job_id).status == "done"

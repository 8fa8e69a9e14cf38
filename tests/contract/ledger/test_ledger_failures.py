"""Failures fall on whose fault they are; what a batch leaves undone waits again."""

from __future__ import annotations

import pytest

from common.units import GIB
from coordinator.ledger.schema import attempts
from tests.contract.ledger.bench import Bench, placed


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
    view = bench.ledger.jobs.view(job.job_id)
    assert view.status == "failed"
    assert [(failure.kind, failure.shots) for failure in view.failures] == [("flat_image", 1)]


def test_a_prompt_that_is_too_long_fails_its_shot_at_once(bench: Bench) -> None:
    job = bench.submit(placed(1))
    assert bench.fail(bench.join().lease(), "prompt_too_long").state == "failed"
    (failure,) = bench.ledger.jobs.view(job.job_id).failures
    assert (failure.kind, failure.shots) == ("prompt_too_long", 1)


def test_a_prompt_that_the_farm_itself_has_counted_is_tried_elsewhere(bench: Bench) -> None:
    bench.restart(whole=lambda shot: shot.prompt == "a red mug")
    bench.submit(placed(1))
    states = []
    for name in ("liar", "liar", "other"):
        lease = bench.join(name).lease()
        states.append(bench.fail(lease, "prompt_too_long").state)
        bench.close(lease)
        bench.rest()
    assert states == ["waiting", "waiting", "failed"]


def test_no_shot_is_given_up_because_its_whole_batch_is_said_to_be_too_long(bench: Bench) -> None:
    bench.submit(placed(2))
    lease = bench.join().lease()
    bench.close(lease, "failed", failure="prompt_too_long")
    assert [bench.shot_row(one.id).state for one in lease.shots] == ["waiting"] * 2


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
    (failure,) = bench.ledger.jobs.view(job.job_id).failures
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


def test_a_pass_out_of_memory_keeps_its_class_and_says_what_it_held(bench: Bench) -> None:
    bench.submit(placed(2))
    lease = bench.join().lease()
    bench.close(lease, "oom", message="it ran out at 7 GiB", peak_bytes=7 * GIB)

    assert {bench.shot_row(one.id).min_class for one in lease.shots} == {8}
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


@pytest.mark.parametrize(("images", "failed"), [(20, 5), (50, 5), (51, 6), (60, 6)])
def test_a_job_pauses_itself_once_a_tenth_and_five_of_its_shots_failed(
    bench: Bench, images: int, failed: int
) -> None:
    job = bench.submit(placed(images))
    node = bench.join()
    while bench.ledger.jobs.view(job.job_id).intent == "active":
        lease = node.lease()
        for index in range(len(lease.shots)):
            bench.fail(lease, "flat_image", index)
        bench.close(lease)
        bench.rest()

    view = bench.ledger.jobs.view(job.job_id)
    assert view.intent == "paused"
    assert f"{failed} of {images} shots failed" in view.reason
    # The fifth was the first of a pass, whose second failed too.
    assert bench.ledger.jobs.requeue(job.job_id) == view.counts["failed"] == 6
    assert bench.ledger.jobs.view(job.job_id).intent == "active"


def test_accepted_failures_make_a_job_done(bench: Bench) -> None:
    job = bench.submit(placed(1))
    node = bench.join()
    for _ in range(3):
        node.fail("flat_image")
        bench.rest()

    assert bench.ledger.jobs.accept_failures(job.job_id) == 1
    assert bench.ledger.jobs.view(job.job_id).status == "done"

"""Explanations from a real ledger: what a claim would meet is what is said."""

from __future__ import annotations

import pytest

from common.errors import Conflict, NotFound
from common.messages import Spent
from common.states import ShotState
from coordinator.ledger.schema import attempts, batches, images, shots
from tests.contract.ledger.bench import TIMING, Bench, placed, placed_one, shot, work
from tests.contract.ledger.saying import VERSION, explained, said, shots_of


def test_of_two_jobs_the_one_that_waits_is_told_which_comes_first(bench: Bench) -> None:
    low = bench.submit(placed(4)).job_id
    high = bench.submit(placed(4, first=100), priority=80).job_id
    bench.join()
    assert f"job {high} comes first on node node: it has priority 80, this job 50" in said(bench, low)
    assert "node node takes this next" in said(bench, high)

    bench.ledger.jobs.prioritise(low, 81)

    assert "node node takes this next" in said(bench, low)


def test_a_paused_job_says_so_and_a_shot_goes_on_by_another_that_wants_it(bench: Bench) -> None:
    paused = bench.submit(placed(1)).job_id
    bench.ledger.jobs.pause(paused)
    bench.join()
    (shot,) = shots_of(bench, paused)
    assert f"job {paused} is paused by the operator" in said(bench, shot)
    assert explained(bench, shot).remedy == f"`farm resume {paused}`"

    bench.submit(placed(1))

    assert "waits: node node takes this next" in said(bench, shot)
    assert explained(bench, shot).remedy == ""


def test_a_job_and_an_image_are_explained_by_their_names(bench: Bench) -> None:
    image = placed_one(shot(1), name="ana/0-1")
    bench.submit([image, placed_one(shot(2), name="mugs")], name="early")
    late = bench.submit([placed_one(shot(3), name="ana/0-1")], name="late", owner="zoe").job_id

    assert explained(bench, "late").subject == late
    for name in ("ana/0-1", "ana/0-1.webp"):
        (newest,) = shots_of(bench, late)
        assert explained(bench, name).subject == newest, "the newest job with such an image counts"
        told = bench.ledger.explain(name, version=VERSION, owner="ana")
        assert told.subject == image.planned.id, "others' images do not exist for an owner"
    with pytest.raises(NotFound, match="no job, shot, image or node is called ana/0-2"):
        explained(bench, "ana/0-2")

    again = bench.submit(placed(1, first=9), name="late").job_id
    with pytest.raises(Conflict, match="2 jobs are called late"):
        explained(bench, "late")
    bench.ledger.jobs.cancel(late)
    assert explained(bench, "late").subject == again
    bench.ledger.jobs.cancel(again)
    assert explained(bench, "late").subject == again


def test_a_budget_that_is_taken_by_what_is_in_hand_is_said(bench: Bench) -> None:
    bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()
    bench.finish(lease, work(100.0))
    measured = bench.submit(placed(1, first=20)).job_id
    bench.close(node.lease(), "released")
    image_cost = bench.rows(batches)[-1].estimate
    bench.ledger.jobs.cancel(measured)
    job = bench.submit(placed(4, first=50), max_cost=1.5 * image_cost).job_id
    node.lease()
    answer = explained(bench, job)
    assert "reserved for running work" in " ".join(answer.sentences)
    assert "too little is left for another image" in " ".join(answer.sentences)
    waiting = next(row.id for row in bench.rows(shots) if row.state == ShotState.WAITING)
    assert "too little is left for another image" in said(bench, waiting)


def test_a_job_that_passed_its_budget_shows_overshoot_and_what_is_undone(bench: Bench) -> None:
    job = bench.submit(placed(4), max_cost=1e-6).job_id
    lease = bench.join().lease()
    bench.store(bench.deliver(lease, 0, work(100.0, 2e4)).attempt_id)
    bench.close(lease)
    bench.ledger.sweep()
    answer = explained(bench, job)
    assert "over; 3 images unfinished" in " ".join(answer.sentences)
    assert "higher limits.max_cost" in answer.remedy


def test_what_failed_on_the_only_node_rests_there_and_then_is_tried_again(bench: Bench) -> None:
    job = bench.submit(placed(1)).job_id
    lease = bench.join().lease()
    bench.fail(lease, "flat_image")
    bench.close(lease)
    (shot,) = shots_of(bench, job)
    assert "this failed on node node, which will retry it in" in said(bench, shot)
    assert "1 shot waits: this failed and will be retried on another node" in said(bench, job)
    assert "Attempt 1 of 3 failed on node" in said(bench, shot)
    bench.clock.now += 31
    assert "node node takes this next" in said(bench, shot)


@pytest.mark.parametrize(
    ("kind", "keeps"),
    [("flat_image", True), ("unheard_of", True), ("upload_failed", False), ("store_unavailable", False)],
)
def test_a_failure_is_said_to_keep_a_shot_from_its_node_where_a_claim_says_so(
    bench: Bench, kind: str, keeps: bool
) -> None:
    job = bench.submit(placed(1)).job_id
    node = bench.join()
    lease = node.lease()
    bench.fail(lease, kind)
    bench.close(lease)
    (shot,) = shots_of(bench, job)

    sentences = said(bench, shot)

    assert ("node node takes this next" in sentences) is not keeps
    assert ("Attempt 1 of 3 failed on node" in sentences) is keeps
    assert (node.claim().lease is None) is keeps


@pytest.mark.parametrize(
    ("kind", "taker"), [("flat_image", "b"), ("upload_failed", "b"), ("store_unavailable", "a")]
)
def test_the_node_that_is_said_to_take_a_shot_next_is_one_that_a_claim_gives_it(
    bench: Bench, kind: str, taker: str
) -> None:
    job = bench.submit(placed(1)).job_id
    nodes = {"a": bench.join("a")}
    lease = nodes["a"].lease()
    bench.fail(lease, kind)
    bench.close(lease)
    nodes["b"] = bench.join("b")
    (shot,) = shots_of(bench, job)

    assert f"node {taker} takes this next" in said(bench, shot)
    assert nodes[taker].claim().lease is not None


def test_a_job_whose_shots_have_not_all_failed_names_the_node_that_takes_the_others(bench: Bench) -> None:
    job = bench.submit(placed(2)).job_id
    lease = bench.join().lease()
    bench.fail(lease, "flat_image")
    bench.close(lease, "released")

    assert "2 shots wait: node node takes this next" in said(bench, job)


def test_a_shot_that_an_engine_died_with_is_said_to_come_last_and_alone(bench: Bench) -> None:
    job = bench.submit(placed(1)).job_id
    lease = bench.join().lease()
    bench.close(lease, "failed", failure="engine_died", spent=Spent(seconds={"denoise": 1.0}))
    (shot,) = shots_of(bench, job)
    assert "ingest crashed while processing this, so node node renders it alone" in said(bench, shot)
    assert "1 of these shots will be rendered last" in said(bench, job)


def test_a_shot_that_failed_says_why_and_what_can_be_done(bench: Bench) -> None:
    job = bench.submit(placed(1)).job_id
    node = bench.join()
    for _ in range(3):
        lease = node.lease()
        bench.fail(lease, "invalid_spec")
        bench.close(lease)
        bench.clock.now += 31
        node.beat()
    (shot,) = shots_of(bench, job)
    answer = explained(bench, shot[:12])
    assert "failed on node: the pipeline rejected its settings" in answer.sentences[0]
    assert f"`farm retry {job}`" in answer.remedy
    assert "1 shot failed: the pipeline rejected its settings." in explained(bench, job).sentences


def test_a_shot_that_fits_nothing_is_said_with_the_change_that_would(bench: Bench) -> None:
    misfits = [one._replace(min_class=0, reason="needs 40 GiB; 1024×1024 fits") for one in placed(2)]
    job = bench.submit(misfits).job_id
    assert "fits no node: needs 40 GiB; 1024×1024 fits" in said(bench, shots_of(bench, job)[0])
    assert "2 shots fit no node: needs 40 GiB; 1024×1024 fits." in explained(bench, job).sentences


def test_stored_and_cancelled_shots_say_so(bench: Bench) -> None:
    job = bench.submit(placed(2)).job_id
    lease = bench.join().lease()
    bench.store(bench.deliver(lease).attempt_id)
    bench.close(lease)
    bench.ledger.jobs.cancel(job)
    stored, cancelled = shots_of(bench, job)
    (image,) = bench.rows(images)
    for subject in (stored, stored[:8], image.sha256):
        assert "is stored" in said(bench, subject)
        assert f"Node node rendered it by recipe {image.recipe} in" in said(bench, subject)
        assert f"seed {image.seed}" in said(bench, subject)
        assert image.key in said(bench, subject)
    assert "Node node" not in said(bench, cancelled)
    assert "is cancelled: no job wants it any more" in said(bench, cancelled)
    assert f"`farm requeue {job}`" in explained(bench, job).remedy


def test_an_unknown_name_is_refused_with_the_nearest_that_is_known(bench: Bench) -> None:
    bench.join("attic")
    with pytest.raises(NotFound, match="did you mean `attic`"):
        explained(bench, "atic")
    with pytest.raises(NotFound, match="no job, shot, image or node is called abcdef012345"):
        explained(bench, "abcdef012345")


def test_every_shot_that_waits_is_schedulable_or_explained_at_every_moment(bench: Bench) -> None:
    bench.submit(placed(4))
    bench.submit(placed(2, first=10, model="sdxl"), priority=90)
    bench.submit(placed(2, first=20), lane="studio")
    node = bench.join()
    bench.join("idle", vram_gib=24)
    bench.ledger.nodes.pause("idle")
    lease = node.lease()
    bench.fail(lease, "render_error")
    bench.close(lease)
    for row in bench.rows(shots):
        answer = explained(bench, row.id)
        assert answer.sentences
        named = any("node node" in sentence for sentence in answer.sentences)
        assert row.state != ShotState.WAITING or named or answer.remedy


def test_a_picture_that_nobody_checks_says_how_long_it_waits_and_for_what(bench: Bench) -> None:
    job = bench.submit(placed(2)).job_id
    lease = bench.join().lease()
    first, _ = (bench.deliver(lease, index).attempt_id for index in range(2))
    shot = lease.shots[0].id
    assert "by node node; the check of its image is in progress" in said(bench, shot)
    assert "The check of 2 images is in progress" in said(bench, job)

    bench.clock.now += TIMING.ingest_again_s + 1
    silent = "is waiting for ingest, which has not responded for"
    assert silent in said(bench, shot)
    assert silent in said(bench, job)
    assert "read its log" in explained(bench, job).remedy

    bench.store(first, outcome="put off", message="the store answers 503")
    assert "is waiting for the store; ingest reports: the store answers 503" in said(bench, shot)
    assert "the store answers 503" in said(bench, job)

    bench.store(first)
    assert "is stored" in said(bench, shot)
    assert "503" not in said(bench, job)
    assert all(row.message == "" for row in bench.rows(attempts))

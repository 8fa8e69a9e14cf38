"""Explanations from a real ledger: what a claim would meet is what is said."""

from __future__ import annotations

import pytest

from common.errors import NotFound
from common.messages import Spent
from common.states import ShotState
from common.views import Explanation
from coordinator.ledger.schema import batches, shots, wants
from tests.contract.ledger.bench import Bench, lora, placed, work

VERSION = "0.1.0"


def explained(bench: Bench, subject: str) -> Explanation:
    return bench.ledger.explain(subject, version=VERSION)


def said(bench: Bench, subject: str) -> str:
    return " ".join(explained(bench, subject).sentences)


def shots_of(bench: Bench, job_id: str) -> list[str]:
    rows = [row for row in bench.rows(wants) if row.job_id == job_id]
    return [row.shot_id for row in sorted(rows, key=lambda row: row.position)]


def test_what_a_node_takes_next_is_what_it_claims_next(bench: Bench) -> None:
    job = bench.submit(placed(2)).job_id
    node = bench.join()
    (first, _) = shots_of(bench, job)
    assert "waits: node node takes this next" in said(bench, first)
    assert "Next it takes 2 shots" in said(bench, "node")
    assert f"of job {job} (lane public)" in said(bench, "node")

    lease = node.lease()

    assert first in {one.id for one in lease.shots}
    assert f"is rendered now on node node, in batch {lease.batch_id}" in said(bench, first)
    assert f"Node node renders 2 shots of job {job}" in said(bench, "node")
    assert "2 shots run: 2 on node" in said(bench, job)


def test_without_a_node_in_the_lane_it_is_said_how_to_get_one(bench: Bench) -> None:
    job = bench.submit(placed(3), lane="studio").job_id
    bench.join()
    answer = explained(bench, job)
    assert "3 shots wait: no node serves lane studio." in answer.sentences
    assert "--lane studio" in answer.remedy
    assert "3 images wait in lane studio, which it does not serve." in explained(bench, "node").sentences


def test_the_node_that_is_missing_is_named_with_the_class_that_all_shots_need(bench: Bench) -> None:
    job = bench.submit([*placed(5), *placed(2, min_class=32, width=4096)]).job_id
    answer = explained(bench, job)
    assert "7 shots wait: no node serves lane public." in answer.sentences
    assert answer.remedy == "start one for it: `farm-node run --lane public` on a card of 32 GB or more"
    small = explained(bench, shots_of(bench, job)[0])
    assert small.remedy.endswith("on a card of 8 GB or more")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"model": "sdxl"}, "model sdxl is not on this node"),
        ({"loras": (lora("ink"),)}, "LoRA ink is not on this node"),
        ({"min_class": 24}, "they need a card of 24 GB or more"),
        ({"width": 4096}, "4096 pixels need 24 GB; 1024 fit"),
    ],
)
def test_what_a_node_lacks_is_said_of_shot_job_and_node(
    bench: Bench, fields: dict[str, object], sentence: str
) -> None:
    job = bench.submit(placed(4, **fields)).job_id  # type: ignore[arg-type]
    node = bench.join()
    assert node.claim().nothing is not None
    for subject in (job, shots_of(bench, job)[0], "node"):
        assert sentence in said(bench, subject)
    assert "join a node of" in explained(bench, job).remedy


def test_a_missing_recipe_file_is_said(bench: Bench) -> None:
    job = bench.submit(placed(1)).job_id
    bench.join(missing_recipes={"tiny": ("bf16",)})
    assert "the file for recipe bf16 of model tiny is not on this node" in said(bench, job)
    assert "then start it again" in explained(bench, "node").remedy


def test_missing_files_are_what_the_nodes_owner_is_told_to_bring(bench: Bench) -> None:
    bench.submit(placed(1, model="sdxl"))
    bench.join()
    assert (
        explained(bench, "node").remedy
        == "put model sdxl into the models folder of node, then start it again"
    )


def test_an_able_node_out_of_service_is_named_with_what_brings_it_back(bench: Bench) -> None:
    job = bench.submit(placed(1)).job_id
    bench.join()
    bench.ledger.pause_node("node", "too hot")
    assert "node node is paused by the operator: too hot" in said(bench, job)
    assert explained(bench, job).remedy == "`farm node resume node`"
    bench.ledger.resume_node("node")
    bench.ledger.pause_node("node", "a game", who="owner")
    assert "node node is paused by its owner: a game" in said(bench, job)
    assert explained(bench, "node").remedy == "its owner runs `farm-node resume` on node"


def test_a_quarantined_node_says_why_and_how_it_is_trusted_again(bench: Bench) -> None:
    bench.join()
    bench.ledger.quarantine_node("node", "green pictures")
    answer = explained(bench, "node")
    assert "Node node is quarantined by the operator: green pictures." in answer.sentences
    assert "`farm node forgive node`" in answer.remedy


def test_a_drained_node_is_resumed(bench: Bench) -> None:
    bench.submit(placed(8))
    node = bench.join()
    lease = node.lease()
    bench.ledger.drain_node("node")
    assert "Node node finishes its batch and takes no other" in said(bench, "node")
    bench.finish(lease)
    assert "Node node is offline" in said(bench, "node")
    assert "`farm node resume node`" in explained(bench, "node").remedy


def test_of_two_jobs_the_one_that_waits_is_told_which_comes_first(bench: Bench) -> None:
    low = bench.submit(placed(4)).job_id
    high = bench.submit(placed(4, first=100), priority=80).job_id
    bench.join()
    assert f"job {high} comes first on node node: its priority is 80, here it is 50" in said(bench, low)
    assert "node node takes this next" in said(bench, high)

    bench.ledger.prioritise_job(low, 81)

    assert "node node takes this next" in said(bench, low)


def test_a_paused_job_says_so_and_a_shot_goes_on_by_another_that_wants_it(bench: Bench) -> None:
    paused = bench.submit(placed(1)).job_id
    bench.ledger.pause_job(paused)
    bench.join()
    (shot,) = shots_of(bench, paused)
    assert f"job {paused} is paused by the operator" in said(bench, shot)
    assert explained(bench, shot).remedy == f"`farm resume {paused}`"

    bench.submit(placed(1))

    assert "waits: node node takes this next" in said(bench, shot)
    assert explained(bench, shot).remedy == ""


def test_a_budget_that_is_taken_by_what_is_in_hand_is_said(bench: Bench) -> None:
    bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()
    bench.finish(lease, work(100.0))
    measured = bench.submit(placed(1, first=20)).job_id
    bench.close(node.lease(), "released")
    image_cost = bench.rows(batches)[-1].estimate
    bench.ledger.cancel_job(measured)
    job = bench.submit(placed(4, first=50), max_cost=1.5 * image_cost).job_id
    node.lease()
    answer = explained(bench, job)
    assert "more is in hand" in " ".join(answer.sentences)
    assert "there is no room for another image" in " ".join(answer.sentences)
    waiting = next(row.id for row in bench.rows(shots) if row.state == ShotState.WAITING)
    assert "there is no room for another image" in said(bench, waiting)


def test_a_job_that_passed_its_budget_shows_overshoot_and_what_is_undone(bench: Bench) -> None:
    job = bench.submit(placed(4), max_cost=1e-6).job_id
    lease = bench.join().lease()
    bench.store(bench.deliver(lease, 0, work(100.0, 3.6e6)).attempt_id)
    bench.close(lease)
    bench.ledger.sweep()
    answer = explained(bench, job)
    assert "too much; 3 images undone" in " ".join(answer.sentences)
    assert "higher limits.max_cost" in answer.remedy


def test_what_failed_on_the_only_node_rests_there_and_then_is_tried_again(bench: Bench) -> None:
    job = bench.submit(placed(1)).job_id
    lease = bench.join().lease()
    bench.fail(lease, "flat_image")
    bench.close(lease)
    (shot,) = shots_of(bench, job)
    assert "this failed on node node, which tries again in" in said(bench, shot)
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


def test_a_shot_that_an_engine_died_with_is_said_to_come_last_and_alone(bench: Bench) -> None:
    job = bench.submit(placed(1)).job_id
    lease = bench.join().lease()
    bench.close(lease, "failed", failure="engine_died", spent=Spent(seconds={"denoise": 1.0}))
    (shot,) = shots_of(bench, job)
    assert "an engine, a node or ingest died with this, so node node renders it alone" in said(bench, shot)
    assert "1 shot of these comes last" in said(bench, job) or "1 shot of these come last" in said(bench, job)


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
    assert "failed on node: the pipeline refused its settings" in answer.sentences[0]
    assert f"`farm retry {job}`" in answer.remedy
    assert "1 shot failed: the pipeline refused its settings." in explained(bench, job).sentences


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
    bench.ledger.cancel_job(job)
    stored, cancelled = shots_of(bench, job)
    assert "is stored" in said(bench, stored)
    assert "is cancelled: no job wants it any more" in said(bench, cancelled)
    assert f"`farm requeue {job}`" in explained(bench, job).remedy


def test_an_unknown_name_is_refused_with_the_nearest_that_is_known(bench: Bench) -> None:
    bench.join("attic")
    with pytest.raises(NotFound, match="did you mean `attic`"):
        explained(bench, "atic")
    with pytest.raises(NotFound, match="no job, shot or node is called abcdef012345"):
        explained(bench, "abcdef012345")


def test_every_shot_that_waits_is_schedulable_or_explained_at_every_moment(bench: Bench) -> None:
    bench.submit(placed(4))
    bench.submit(placed(2, first=10, model="sdxl"), priority=90)
    bench.submit(placed(2, first=20), lane="studio")
    node = bench.join()
    bench.join("idle", vram_gib=24)
    bench.ledger.pause_node("idle")
    lease = node.lease()
    bench.fail(lease, "render_error")
    bench.close(lease)
    for row in bench.rows(shots):
        answer = explained(bench, row.id)
        assert answer.sentences
        named = any("node node" in sentence for sentence in answer.sentences)
        assert row.state != ShotState.WAITING or named or answer.remedy

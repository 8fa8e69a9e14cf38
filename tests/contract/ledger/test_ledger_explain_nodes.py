"""Explanations of nodes: what they lack, and what brings them back."""

from __future__ import annotations

import pytest

from tests.contract.ledger.bench import Bench, lora, placed
from tests.contract.ledger.saying import explained, said, shots_of


def test_what_a_node_takes_next_is_what_it_claims_next(bench: Bench) -> None:
    job = bench.submit(placed(2)).job_id
    node = bench.join()
    (first, _) = shots_of(bench, job)
    assert "waits: node node takes this next" in said(bench, first)
    assert "It will take 2 shots" in said(bench, "node")
    assert f"of job {job} next (lane public)" in said(bench, "node")

    lease = node.lease()

    assert first in {one.id for one in lease.shots}
    assert f"is being rendered on node node, in batch {lease.batch_id}" in said(bench, first)
    assert f"Node node is rendering 2 shots of job {job}" in said(bench, "node")
    assert "2 shots are running: 2 on node" in said(bench, job)


def test_a_retry_that_is_kept_for_another_node_is_not_promised_to_the_one_it_failed_on(bench: Bench) -> None:
    job = bench.submit(placed(1)).job_id
    node = bench.join()
    node.fail("flat_image")
    bench.join("other")
    assert node.claim().lease is None
    assert f"It will take 1 shot of job {job} next" not in said(bench, "node")
    assert "It cannot render 1 image in lane public: they failed on this node" in said(bench, "node")
    assert f"It will take 1 shot of job {job} next (lane public)" in said(bench, "other")
    assert "1 shot waits: this failed and will be retried on another node" in said(bench, job)

    # Fresh work comes before it.
    more = bench.submit(placed(1, first=7), owner="ben").job_id
    assert f"It will take 1 shot of job {more} next (lane public)" in said(bench, "node")


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
    assert answer.remedy == "start one with `farm-node run --lane public` on a card with 32 GB or more"
    small = explained(bench, shots_of(bench, job)[0])
    assert small.remedy.endswith("on a card with 8 GB or more")


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
    assert "add a node with" in explained(bench, job).remedy


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
    bench.ledger.nodes.pause("node", "too hot")
    assert "node node is paused by the operator: too hot" in said(bench, job)
    assert explained(bench, job).remedy == "`farm node resume node`"
    bench.ledger.nodes.resume("node")
    bench.ledger.nodes.pause("node", "a game", who="owner")
    assert "node node is paused by its owner: a game" in said(bench, job)
    assert explained(bench, "node").remedy == "its owner must run `farm-node resume` on node"


def test_a_quarantined_node_says_why_and_how_it_is_trusted_again(bench: Bench) -> None:
    bench.join()
    bench.ledger.nodes.quarantine("node", "green pictures")
    answer = explained(bench, "node")
    assert "Node node is quarantined by the operator: green pictures." in answer.sentences
    assert "`farm node forgive node`" in answer.remedy


def test_a_drained_node_is_resumed(bench: Bench) -> None:
    bench.submit(placed(8))
    node = bench.join()
    lease = node.lease()
    bench.ledger.nodes.drain("node")
    assert "Node node is finishing its batch" in said(bench, "node")
    bench.finish(lease)
    assert "Node node is offline" in said(bench, "node")
    assert "`farm node resume node`" in explained(bench, "node").remedy

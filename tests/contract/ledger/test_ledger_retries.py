"""Retries: where and when a shot that failed is tried again."""

from __future__ import annotations

from tests.contract.ledger.bench import Bench, placed
from tests.contract.ledger.saying import said, shots_of


def test_a_failed_shot_goes_to_another_node_where_one_can_take_it(bench: Bench) -> None:
    bench.submit(placed(1))
    node, other = bench.join(), bench.join("other")
    node.fail("flat_image")

    refused = node.claim().nothing
    assert refused is not None
    assert "another node retries them" in refused.reason
    assert len(other.lease().shots) == 1


def test_a_failed_shot_goes_to_the_same_node_after_a_while_where_there_is_no_other(bench: Bench) -> None:
    bench.submit(placed(1))
    node = bench.join()
    node.fail("flat_image")

    refused = node.claim().nothing
    assert refused is not None
    assert "after 30 s" in refused.reason
    bench.rest()
    assert len(node.lease().shots) == 1


def test_a_clock_that_is_set_back_lets_no_failed_shot_rest_longer(bench: Bench) -> None:
    job = bench.submit(placed(1)).job_id
    node = bench.join()
    node.fail("flat_image")
    bench.clock.now -= 3600

    assert "node node takes this next" in said(bench, shots_of(bench, job)[0])
    assert len(node.lease().shots) == 1


def test_a_batch_that_failed_whole_is_not_tried_again_at_once(bench: Bench) -> None:
    bench.submit(placed(1))
    node = bench.join()
    bench.close(node.lease(), "failed", failure="lora_rejected")

    assert node.claim().lease is None
    bench.rest()
    assert node.claim().lease is not None


def test_a_failure_that_was_not_the_shots_lets_it_be_tried_there_at_once(bench: Bench) -> None:
    bench.submit(placed(1))
    node = bench.join()
    node.fail("upload_failed")

    assert len(node.lease().shots) == 1


def test_a_failure_of_the_farms_own_keeps_a_shot_from_no_node(bench: Bench) -> None:
    bench.submit(placed(1))
    node, _ = bench.join(), bench.join("other")
    node.fail("store_unavailable")

    assert len(node.lease().shots) == 1


def test_a_shot_that_failed_on_every_node_is_tried_on_any_whatever_the_kinds(bench: Bench) -> None:
    bench.submit(placed(1))
    node, other = bench.join(), bench.join("other")
    node.fail("render_error")
    other.fail("upload_failed")

    bench.rest()
    node.fail("render_error")
    assert len(other.lease().shots) == 1


def test_a_requeued_shot_that_failed_on_every_node_is_tried_again(bench: Bench) -> None:
    job = bench.submit(placed(1))
    node, other = bench.join(), bench.join("other")
    for one in (node, other, node):
        one.fail("flat_image")
        bench.rest()
    bench.ledger.jobs.requeue(job.job_id)
    node.fail("flat_image")

    bench.rest()
    assert len(node.lease().shots) == 1


def test_a_failed_shot_waits_for_no_node_whose_card_cannot_take_it(bench: Bench) -> None:
    bench.submit(placed(1, width=4096))
    node = bench.join(vram_gib=24)
    bench.join("small")
    node.fail("flat_image")

    bench.rest()
    assert len(node.lease().shots) == 1


def test_a_retry_where_nothing_failed_leaves_a_pause_as_it_is(bench: Bench) -> None:
    job = bench.submit(placed(2)).job_id
    bench.ledger.jobs.pause(job)

    assert bench.ledger.jobs.retry(job) == 0

    assert bench.ledger.jobs.view(job).intent == "paused"

"""Passes in the ledger: each node learns from what it renders how many images at once are worth it."""

from __future__ import annotations

import pytest

from common.fit import Seen
from common.nodes import Card
from common.shot import Shot
from coordinator.scheduling.placing import Placement
from tests.contract.ledger.bench import Bench, Holder, placed, work

MOST = 8


def wide(one: Shot, card: Card, seen: Seen) -> Placement | str:
    return Placement("bf16", MOST)


@pytest.fixture
def bench(bench: Bench) -> Bench:
    bench.restart(place=wide)
    return bench


def render(bench: Bench, node: Holder, images: int, image_s: float) -> int:
    """A batch of so many images in passes as leased, each image in so many seconds; returns the pass size."""
    bench.submit(placed(images, first=1000 * (1 + next(bench.numbers))))
    lease = node.lease()
    at_once = min(lease.pass_size, len(lease.shots))
    for index in range(len(lease.shots)):
        report = bench.deliver(lease, index, work(image_s), pass_size=at_once)
        bench.store(report.attempt_id)
    bench.close(lease)
    return lease.pass_size


def test_a_node_that_gains_nothing_renders_smaller_passes_and_another_one_goes_on(bench: Bench) -> None:
    flat, steep = bench.join("flat"), bench.join("steep", 24)
    for images in (8, 2, 4, 3):
        assert render(bench, flat, images, 2.0) == MOST
        assert render(bench, steep, images, 2.0 + 6.0 / images) == MOST
    for images in (8, 1):
        render(bench, flat, images, 2.0)
        assert render(bench, steep, images, 2.0 + 6.0 / images) == MOST

    assert render(bench, flat, 8, 2.0) == 1
    assert render(bench, steep, 8, 2.0 + 6.0 / 8) == MOST


def test_a_node_that_comes_back_learns_anew(bench: Bench) -> None:
    node = bench.join()
    for images in (8, 2, 8, 4, 8):
        render(bench, node, images, 2.0)
    assert render(bench, node, 8, 2.0) == 1
    bench.ledger.nodes.leave(node.id, node.joined.incarnation)

    assert render(bench, bench.join(), 8, 2.0) == MOST


def test_a_pass_is_shorter_while_other_jobs_wait_for_its_end(bench: Bench) -> None:
    node = bench.join()
    render(bench, node, 2, 20.0)
    alone = render(bench, node, 8, 20.0)
    bench.submit(placed(3, first=900_000), owner="somebody")

    assert (alone, node.lease().pass_size) == (120 // 20, 50 // 20)

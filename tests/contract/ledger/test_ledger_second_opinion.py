"""A second opinion: what fails on one node and comes out well on another was no fault of the shot."""

from __future__ import annotations

from tests.contract.ledger.bench import Bench, Holder, placed


def _blacken(bench: Bench, node: Holder, batches: int) -> None:
    """Every picture of so many batches comes out black, which seems to be the shots' own fault."""
    for _ in range(batches):
        lease = node.lease()
        for index in range(len(lease.shots)):
            bench.fail(lease, "black_image", index)
        bench.close(lease)


def _render_all(bench: Bench, node: Holder) -> None:
    while lease := node.claim().lease:
        bench.finish(lease)


def test_a_node_whose_failures_others_render_well_is_quarantined(bench: Bench) -> None:
    bench.past_the_grace()
    bad, good = bench.join("bad"), bench.join("good")
    job = bench.submit(placed(4)).job_id
    _blacken(bench, bad, 2)
    assert bench.node_state("bad") == "ready", "nobody knows yet whose fault it is"

    _render_all(bench, good)

    assert bench.counts(job) == {"done": 4}
    assert bench.node_state("bad") == "quarantined"
    assert bench.node_state("good") == "ready"


def test_a_shot_that_fails_everywhere_is_no_nodes_fault(bench: Bench) -> None:
    bench.past_the_grace()
    nodes = [bench.join("one"), bench.join("two"), bench.join("three")]
    for number in range(4):
        bench.submit(placed(1, first=number))
        for node in nodes:
            _blacken(bench, node, 1)

    assert [bench.node_state(node.id) for node in nodes] == ["ready"] * 3


def test_what_failed_before_a_node_was_forgiven_is_not_held_against_it(bench: Bench) -> None:
    bench.past_the_grace()
    bad, good = bench.join("bad"), bench.join("good")
    bench.submit(placed(8))
    _blacken(bench, bad, 4)
    bench.ledger.nodes.quarantine("bad")
    bench.clock.now += 1
    bench.ledger.nodes.forgive("bad")

    _render_all(bench, good)

    assert bench.node_state("bad") == "ready"

"""Incidents of the farm's own: no node is blamed while one lasts, and those that were are forgiven."""

from __future__ import annotations

import pytest

from tests.contract.ledger.bench import TIMING, Bench, placed


def test_no_node_is_blamed_in_the_grace_after_a_start(bench: Bench) -> None:
    bench.submit(placed(40))
    node = bench.join()
    node.fail("device_lost", 5)

    assert bench.node_state() == "ready"
    assert bench.node_row().record == ""


def test_no_node_is_blamed_while_the_store_is_away(bench: Bench) -> None:
    bench.past_the_grace()
    bench.submit(placed(40))
    node, other = bench.join(), bench.join("other")
    lease = other.lease()
    bench.store(bench.deliver(lease).attempt_id, outcome="put off")
    node.fail("upload_failed", 5)
    assert bench.node_state() == "ready"

    bench.let_pass(TIMING.grace_s + TIMING.sweep_s, node)
    node.fail("upload_failed", 3)
    assert bench.node_state() == "quarantined", "the incident is over"


@pytest.mark.parametrize("whole_batch", [True, False])
def test_a_nodes_word_that_the_store_is_away_charges_nobody(bench: Bench, whole_batch: bool) -> None:
    bench.past_the_grace()
    bench.submit(placed(40))
    node = bench.join()
    for _ in range(4):
        lease = node.lease()
        if whole_batch:
            bench.close(lease, "failed", failure="store_unavailable")
        else:
            bench.fail(lease, "store_unavailable")
            bench.close(lease)
    shot = bench.shot_row(lease.shots[0].id)

    assert (shot.state, shot.attempts, shot.crashes) == ("waiting", 0, 0)
    assert (bench.node_state(), bench.node_row().record) == ("ready", "")


def test_a_nodes_word_that_the_store_is_away_forgives_no_other_node(bench: Bench) -> None:
    bench.past_the_grace()
    bench.submit(placed(40))
    cut_off, node = bench.join("cut-off"), bench.join()
    lease = cut_off.lease()
    bench.close(lease, "failed", failure="store_unavailable")

    node.fail("upload_failed", 3)

    assert bench.node_state() == "quarantined"


def test_nodes_quarantined_since_an_incident_began_are_forgiven_when_it_ends(bench: Bench) -> None:
    node = bench.quarantined()
    bench.submit(placed(4, first=500))
    other = bench.join("other")
    lease = other.lease()
    bench.store(bench.deliver(lease).attempt_id, outcome="put off")
    assert bench.node_state() == "quarantined"

    bench.let_pass(TIMING.grace_s + TIMING.sweep_s, node)

    assert (bench.node_state(), bench.node_row().record) == ("ready", "")


def test_an_amnesty_forgives_neither_earlier_nor_the_operators_quarantines(bench: Bench) -> None:
    early = bench.quarantined()
    bench.let_pass(TIMING.lease_s + TIMING.sweep_s, early)
    bench.join("watched")
    bench.ledger.nodes.quarantine("watched")
    lease = bench.join("other").lease()
    bench.store(bench.deliver(lease).attempt_id, outcome="put off")

    bench.let_pass(TIMING.grace_s + TIMING.sweep_s, early)

    assert (bench.node_state(), bench.node_state("watched")) == ("quarantined", "quarantined")


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_jump_is_an_incident_that_ends(bench: Bench, jump: float) -> None:
    bench.past_the_grace()
    bench.submit(placed(40))
    node = bench.join()
    bench.clock.now += jump
    bench.ledger.sweep()
    node.fail("device_lost", 5)
    assert bench.node_state() == "ready"

    bench.let_pass(TIMING.grace_s + TIMING.sweep_s, node)
    node.fail("device_lost", 3)
    assert bench.node_state() == "quarantined"

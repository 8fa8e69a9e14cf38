"""Trust: a node's own failures bring it into quarantine, a self-test or a pardon out of it again."""

from __future__ import annotations

import pytest

from common.messages import Lease
from tests.contract.ledger.bench import TIMING, Bench, Holder, placed, work


def _tested(bench: Bench) -> tuple[Holder, Lease]:
    """A node that holds the shot of its self-test."""
    node = bench.quarantined()
    bench.let_pass(TIMING.quarantine_s + TIMING.sweep_s, node)
    assert bench.node_state() == "selftest"
    return node, node.lease()


def test_three_failures_in_a_row_quarantine_a_node_with_the_reason_and_what_follows(bench: Bench) -> None:
    node = bench.quarantined()

    refused = node.claim().nothing
    assert refused is not None
    assert "3 failures of its own in a row" in refused.reason
    assert f"{TIMING.quarantine_s:.0f} s" in refused.reason
    assert node.beat().order == "drain"


def test_six_failures_among_the_last_fifty_quarantine_a_node_that_succeeds_in_between(bench: Bench) -> None:
    bench.past_the_grace()
    bench.submit(placed(40))
    node = bench.join()
    states = []
    for _ in range(6):
        lease = node.lease()
        bench.store(bench.deliver(lease, 0).attempt_id)
        bench.close(lease, "released")
        node.fail("device_lost", 1)
        states.append(bench.node_state())

    assert states == ["ready"] * 5 + ["quarantined"]


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


@pytest.mark.parametrize("rubbish", [True, False], ids=["rubbish", "refused uploads"])
def test_a_node_that_delivers_no_picture_is_quarantined(bench: Bench, rubbish: bool) -> None:
    bench.submit(placed(20))
    node = bench.join()
    bench.past_the_grace()
    for _ in range(3):
        lease = node.lease()
        if rubbish:
            attempt = bench.deliver(lease).attempt_id
            bench.store(attempt, outcome="rejected", failure="not_an_image")
        else:
            bench.fail(lease, "upload_failed")
        bench.close(lease, "released")

    assert bench.node_state() == "quarantined"


def test_a_quarantined_node_that_lives_is_tested_with_one_shot_and_no_second(bench: Bench) -> None:
    node, lease = _tested(bench)
    assert len(lease.shots) == 1
    attempt = bench.deliver(lease).attempt_id
    bench.close(lease)

    assert node.claim().lease is None, "the verdict is not there yet"
    assert bench.ledger.backlog.ticket_demand() == {}
    bench.store(attempt)
    assert bench.node_state() == "ready"
    assert bench.node_row().record == ""
    assert len(node.lease().shots) > 1


def test_a_quarantined_node_that_is_silent_is_not_tested(bench: Bench) -> None:
    bench.quarantined()
    bench.let_pass(TIMING.quarantine_s + TIMING.sweep_s)

    assert bench.node_state() == "quarantined"


def test_a_failed_self_test_is_one_failure_and_quarantine_again(bench: Bench) -> None:
    node, lease = _tested(bench)
    bench.close(lease, "failed", failure="engine_died")

    assert bench.node_state() == "quarantined"
    assert "self-test" in bench.node_row().reason
    bench.let_pass(TIMING.quarantine_s / 2, node)
    assert bench.node_state() == "quarantined", "the time begins anew"


def test_a_self_test_that_ingest_refuses_for_the_nodes_fault_is_failed(bench: Bench) -> None:
    _, lease = _tested(bench)
    attempt = bench.deliver(lease).attempt_id
    bench.store(attempt, outcome="rejected", failure="not_an_image")
    bench.close(lease)

    assert bench.node_state() == "quarantined"


def test_a_self_test_that_failed_by_the_shots_fault_judges_nobody(bench: Bench) -> None:
    node, lease = _tested(bench)
    bench.fail(lease, "flat_image")
    bench.close(lease)

    assert bench.node_state() == "selftest"
    assert len(node.lease().shots) == 1


@pytest.mark.parametrize("holding", [True, False])
def test_a_node_that_vanishes_in_its_self_test_is_quarantined_again(bench: Bench, holding: bool) -> None:
    node, lease = _tested(bench)
    if not holding:
        bench.close(lease, "released")
    bench.let_pass(TIMING.lease_s + 2 * TIMING.sweep_s)

    assert bench.node_state() == "quarantined"
    assert bench.node_row().distrusted_at > bench.clock.now - TIMING.lease_s
    bench.let_pass(2 * TIMING.sweep_s, node)
    assert bench.node_state() == "quarantined"


def test_a_picture_begun_before_the_quarantine_wins_no_trust_back(bench: Bench) -> None:
    bench.past_the_grace()
    node, lease = bench.leased(40)
    early = bench.deliver(lease).attempt_id
    bench.close(lease)
    node.fail("device_lost", 3)
    bench.clock.now += 1
    bench.store(early)

    assert bench.node_state() == "quarantined"


def test_a_restart_shortens_no_quarantine(bench: Bench) -> None:
    bench.quarantined()

    again = bench.join()

    assert bench.node_state() == "quarantined"
    assert again.claim().lease is None
    bench.let_pass(TIMING.quarantine_s + TIMING.sweep_s, again)
    assert bench.node_state() == "selftest"
    once_more = bench.join()
    assert bench.node_state() == "selftest"
    assert len(once_more.lease().shots) == 1


def test_a_record_outlives_a_restart(bench: Bench) -> None:
    bench.past_the_grace()
    bench.submit(placed(40))
    bench.join().fail("device_lost", 2)
    bench.join().fail("device_lost", 1)

    assert bench.node_state() == "quarantined"


def test_a_forgiven_node_is_ready_with_a_clean_record(bench: Bench) -> None:
    node = bench.quarantined()
    announced: list[str] = []
    bench.ledger.commits.on_work(lambda: announced.append("work"))

    bench.ledger.nodes.forgive(node.id)

    row = bench.node_row()
    assert (row.state, row.record, row.distrusted_at) == ("ready", "", None)
    assert announced
    node.fail("device_lost", 2)
    assert bench.node_state() == "ready"
    bench.ledger.nodes.forgive(node.id)
    assert bench.node_row().record == ""


@pytest.mark.parametrize("how", ["forgiven", "its picture is stored"])
def test_a_node_that_is_trusted_while_it_holds_its_self_test_is_busy_until_the_batch_is_closed(
    bench: Bench, how: str
) -> None:
    _, lease = _tested(bench)
    if how == "forgiven":
        bench.ledger.nodes.forgive("node")
    else:
        bench.store(bench.deliver(lease).attempt_id)
    assert bench.node_state() == "busy"

    bench.close(lease)

    assert bench.node_state() == "ready"


@pytest.mark.parametrize("vram", [8, 12])
def test_a_shot_that_failed_waits_for_no_node_in_its_self_test(bench: Bench, vram: int) -> None:
    node, _ = _tested(bench)
    bench.ledger.nodes.quarantine(node.id)
    bench.join()
    other = bench.join("other", vram)
    other.fail("flat_image", 1)
    bench.rest()
    shot_id = other.claim().lease.shots[0].id  # type: ignore[union-attr]

    assert bench.shot_row(shot_id).state == "running"


def test_an_operators_quarantine_takes_the_batch_back_without_blame(bench: Bench) -> None:
    job = bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()
    node.beat(lease, spent=work(5.0))

    bench.ledger.nodes.quarantine(node.id, "green pictures")

    assert bench.node_state() == "quarantined"
    assert bench.node_row().reason == "quarantined by the operator: green pictures"
    assert bench.counts(job.job_id) == {"waiting": 2}
    assert {bench.shot_row(one.id).crashes for one in lease.shots} == {0}
    assert node.beat(lease).order == "stop"

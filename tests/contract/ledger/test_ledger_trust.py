"""Trust: a node's own failures bring it into quarantine, a self-test or a pardon out of it again."""

from __future__ import annotations

import pytest

from common.messages import Lease
from coordinator.ledger.schema import nodes
from tests.contract.ledger.bench import TIMING, Bench, Holder, placed, work


def _row(bench: Bench, name: str = "node") -> Holder:
    return next(row for row in bench.rows(nodes) if row.id == name)


def _fail(bench: Bench, node: Holder, kind: str = "device_lost", times: int = 3) -> None:
    for _ in range(times):
        lease = node.lease()
        bench.fail(lease, kind)
        bench.close(lease, "released")


def _quarantined(bench: Bench) -> Holder:
    """A node that failed three times in a row by its own fault, with work that waits."""
    bench.past_the_grace()
    bench.submit(placed(40))
    node = bench.join()
    _fail(bench, node)
    assert bench.node_state() == "quarantined"
    return node


def _wait(bench: Bench, node: Holder, seconds: float) -> None:
    """Let time pass for a node that lives."""
    for _ in range(int(seconds / TIMING.sweep_s)):
        bench.clock.now += TIMING.sweep_s
        node.beat()
        bench.ledger.sweep()


def _tested(bench: Bench) -> tuple[Holder, Lease]:
    """A node that holds the shot of its self-test."""
    node = _quarantined(bench)
    _wait(bench, node, TIMING.quarantine_s + TIMING.sweep_s)
    assert bench.node_state() == "selftest"
    return node, node.lease()


def test_three_failures_in_a_row_quarantine_a_node_with_the_reason_and_what_follows(bench: Bench) -> None:
    node = _quarantined(bench)

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
        _fail(bench, node, times=1)
        states.append(bench.node_state())

    assert states == ["ready"] * 5 + ["quarantined"]


def test_a_quarantined_node_that_lives_is_tested_with_one_shot_and_no_second(bench: Bench) -> None:
    node, lease = _tested(bench)
    assert len(lease.shots) == 1
    attempt = bench.deliver(lease).attempt_id
    bench.close(lease)

    assert node.claim().lease is None, "the verdict is not there yet"
    assert bench.ledger.warrants() == {}
    bench.store(attempt)
    assert bench.node_state() == "ready"
    assert _row(bench).record == ""
    assert len(node.lease().shots) > 1


def test_a_quarantined_node_that_is_silent_is_not_tested(bench: Bench) -> None:
    _quarantined(bench)
    for _ in range(int(TIMING.quarantine_s / TIMING.sweep_s) + 1):
        bench.clock.now += TIMING.sweep_s
        bench.ledger.sweep()

    assert bench.node_state() == "quarantined"


def test_a_failed_self_test_is_one_failure_and_quarantine_again(bench: Bench) -> None:
    node, lease = _tested(bench)
    bench.close(lease, "failed", failure="engine_died")

    assert bench.node_state() == "quarantined"
    assert "self-test" in _row(bench).reason
    _wait(bench, node, TIMING.quarantine_s / 2)
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
    for _ in range(int(TIMING.lease_s / TIMING.sweep_s) + 2):
        bench.clock.now += TIMING.sweep_s
        bench.ledger.sweep()

    assert bench.node_state() == "quarantined"
    assert _row(bench).distrusted_at > bench.clock.now - TIMING.lease_s
    _wait(bench, node, 2 * TIMING.sweep_s)
    assert bench.node_state() == "quarantined"


def test_a_picture_begun_before_the_quarantine_wins_no_trust_back(bench: Bench) -> None:
    bench.past_the_grace()
    bench.submit(placed(40))
    node = bench.join()
    lease = node.lease()
    early = bench.deliver(lease).attempt_id
    bench.close(lease)
    _fail(bench, node)
    bench.clock.now += 1
    bench.store(early)

    assert bench.node_state() == "quarantined"


def test_a_restart_wins_no_trust_back_but_a_self_test(bench: Bench) -> None:
    _quarantined(bench)

    again = bench.join()

    assert bench.node_state() == "selftest"
    assert len(again.lease().shots) == 1


def test_a_record_outlives_a_restart(bench: Bench) -> None:
    bench.past_the_grace()
    bench.submit(placed(40))
    _fail(bench, bench.join(), times=2)
    _fail(bench, bench.join(), times=1)

    assert bench.node_state() == "quarantined"


def test_a_forgiven_node_is_ready_with_a_clean_record(bench: Bench) -> None:
    node = _quarantined(bench)
    announced: list[str] = []
    bench.ledger.on_work(lambda: announced.append("work"))

    bench.ledger.forgive_node(node.id)

    assert (bench.node_state(), _row(bench).record, _row(bench).distrusted_at) == ("ready", "", None)
    assert announced
    _fail(bench, node, times=2)
    assert bench.node_state() == "ready"
    bench.ledger.forgive_node(node.id)
    assert _row(bench).record == ""


@pytest.mark.parametrize("how", ["forgiven", "its picture is stored"])
def test_a_node_that_is_trusted_while_it_holds_its_self_test_is_busy_until_the_batch_is_closed(
    bench: Bench, how: str
) -> None:
    _, lease = _tested(bench)
    if how == "forgiven":
        bench.ledger.forgive_node("node")
    else:
        bench.store(bench.deliver(lease).attempt_id)
    assert bench.node_state() == "busy"

    bench.close(lease)

    assert bench.node_state() == "ready"


@pytest.mark.parametrize("vram", [8, 12])
def test_a_shot_that_failed_waits_for_no_node_in_its_self_test(bench: Bench, vram: int) -> None:
    node, _ = _tested(bench)
    bench.ledger.quarantine_node(node.id)
    bench.join()
    other = bench.join("other", vram)
    _fail(bench, other, "flat_image", times=1)
    bench.rest()
    shot_id = other.claim().lease.shots[0].id  # type: ignore[union-attr]

    assert bench.shot_row(shot_id).state == "running"


# The operator's quarantine


def test_an_operators_quarantine_takes_the_batch_back_without_blame(bench: Bench) -> None:
    job = bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()
    node.beat(lease, spent=work(5.0))

    bench.ledger.quarantine_node(node.id, "green pictures")

    assert bench.node_state() == "quarantined"
    assert _row(bench).reason == "quarantined by the operator: green pictures"
    assert bench.counts(job.job_id) == {"waiting": 2}
    assert {bench.shot_row(one.id).crashes for one in lease.shots} == {0}
    assert node.beat(lease).order == "stop"


# Incidents of the farm's own


def test_no_node_is_blamed_in_the_grace_after_a_start(bench: Bench) -> None:
    bench.submit(placed(40))
    node = bench.join()
    _fail(bench, node, times=5)

    assert bench.node_state() == "ready"
    assert _row(bench).record == ""


def test_no_node_is_blamed_while_the_store_is_away(bench: Bench) -> None:
    bench.past_the_grace()
    bench.submit(placed(40))
    node, other = bench.join(), bench.join("other")
    lease = other.lease()
    bench.store(bench.deliver(lease).attempt_id, outcome="put off")
    _fail(bench, node, "upload_failed", times=5)
    assert bench.node_state() == "ready"

    _wait(bench, node, TIMING.grace_s + TIMING.sweep_s)
    _fail(bench, node, "upload_failed")
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
    assert (bench.node_state(), _row(bench).record) == ("ready", "")


def test_a_nodes_word_that_the_store_is_away_forgives_no_other_node(bench: Bench) -> None:
    bench.past_the_grace()
    bench.submit(placed(40))
    cut_off, node = bench.join("cut-off"), bench.join()
    lease = cut_off.lease()
    bench.close(lease, "failed", failure="store_unavailable")

    _fail(bench, node, "upload_failed", times=3)

    assert bench.node_state() == "quarantined"


def test_nodes_quarantined_since_an_incident_began_are_forgiven_when_it_ends(bench: Bench) -> None:
    node = _quarantined(bench)
    bench.submit(placed(4, first=500))
    other = bench.join("other")
    lease = other.lease()
    bench.store(bench.deliver(lease).attempt_id, outcome="put off")
    assert bench.node_state() == "quarantined"

    _wait(bench, node, TIMING.grace_s + TIMING.sweep_s)

    assert (bench.node_state(), _row(bench).record) == ("ready", "")


def test_an_amnesty_forgives_neither_earlier_nor_the_operators_quarantines(bench: Bench) -> None:
    early = _quarantined(bench)
    _wait(bench, early, TIMING.lease_s + TIMING.sweep_s)
    bench.join("watched")
    bench.ledger.quarantine_node("watched")
    lease = bench.join("other").lease()
    bench.store(bench.deliver(lease).attempt_id, outcome="put off")

    _wait(bench, early, TIMING.grace_s + TIMING.sweep_s)

    assert (bench.node_state(), bench.node_state("watched")) == ("quarantined", "quarantined")


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_jump_is_an_incident_that_ends(bench: Bench, jump: float) -> None:
    bench.past_the_grace()
    bench.submit(placed(40))
    node = bench.join()
    bench.clock.now += jump
    bench.ledger.sweep()
    _fail(bench, node, times=5)
    assert bench.node_state() == "ready"

    _wait(bench, node, TIMING.grace_s + TIMING.sweep_s)
    _fail(bench, node)
    assert bench.node_state() == "quarantined"


# Suspicion


@pytest.mark.parametrize(
    ("phases", "crashes"),
    [({"load": 30.0}, 0), ({"load": 3.0, "encode": 1.0}, 0), ({"denoise": 0.0}, 1), ({"decode": 1.0}, 1)],
)
@pytest.mark.parametrize("how", ["engine", "node"])
def test_only_a_pass_whose_denoising_had_begun_is_suspected(
    bench: Bench, phases: dict[str, float], crashes: int, how: str
) -> None:
    bench.past_the_grace()
    bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()
    spent = work(0.0).model_copy(update={"seconds": phases})
    if how == "engine":
        bench.close(lease, "failed", failure="engine_died", spent=spent)
    else:
        node.beat(lease, spent=spent)
        bench.join()

    assert {bench.shot_row(one.id).crashes for one in lease.shots} == {crashes}

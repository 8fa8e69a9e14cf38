"""Pauses of nodes: at once, without blame, and ended only by whom they came from."""

from __future__ import annotations

import pytest

from common.errors import Conflict, NotFound
from common.views import Who
from coordinator.ledger.schema import batches, nodes
from tests.contract.ledger.bench import TIMING, Bench, placed, work


def test_a_pause_takes_the_batch_back_at_once_and_blames_nobody(bench: Bench) -> None:
    bench.past_the_grace()
    job = bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()
    node.beat(lease, spent=work(5.0))
    heard: list[str] = []
    bench.ledger.commits.on_orders(heard.extend)

    bench.ledger.nodes.pause(node.id, "a game", who="owner")

    assert heard == [node.id]
    answer = node.beat(lease)
    assert (answer.order, answer.reason) == ("pause", "paused by its owner: a game")
    assert bench.counts(job.job_id) == {"waiting": 2}
    assert [row.outcome for row in bench.rows(batches)] == ["released"]
    assert {(row.crashes, row.attempts) for row in map(bench.shot_row, (one.id for one in lease.shots))} == {
        (0, 0)
    }
    (row,) = bench.rows(nodes)
    assert row.record == ""
    refused = node.claim().nothing
    assert refused is not None
    assert "a game" in refused.reason


def test_a_pause_lasts_over_silence_and_restarts(bench: Bench) -> None:
    bench.past_the_grace()
    node = bench.join()
    bench.ledger.nodes.pause(node.id)
    for _ in range(int(TIMING.lease_s / TIMING.sweep_s) + 2):
        bench.clock.now += TIMING.sweep_s
        bench.ledger.sweep()
    bench.submit(placed(1))

    again = bench.join()

    assert bench.node_state() == "paused"
    assert again.beat().reason == "paused by the operator"
    assert again.claim().lease is None
    bench.ledger.nodes.resume(node.id)
    assert again.claim().lease is not None


def test_a_pause_is_ended_only_by_whom_it_came_from(bench: Bench) -> None:
    bench.join()
    bench.ledger.nodes.pause("node", who="owner")
    with pytest.raises(Conflict, match="paused by its owner; only its owner can resume it"):
        bench.ledger.nodes.resume("node")
    with pytest.raises(Conflict, match="only its owner"):
        bench.ledger.nodes.pause("node")
    bench.ledger.nodes.resume("node", who="owner")

    bench.ledger.nodes.pause("node")
    with pytest.raises(Conflict, match="ask the operator for `farm node resume node`"):
        bench.ledger.nodes.resume("node", who="owner")
    assert bench.node_state() == "paused"


def test_an_owner_takes_no_pause_of_the_operator_over(bench: Bench) -> None:
    node = bench.join()
    bench.ledger.nodes.pause("node", "a test")

    with pytest.raises(Conflict, match="paused by the operator: a test"):
        bench.ledger.nodes.pause("node", who="owner")
    with pytest.raises(Conflict, match="ask the operator"):
        bench.ledger.nodes.resume("node", who="owner")
    bench.ledger.nodes.leave(node.id, node.joined.incarnation)
    bench.join()
    assert bench.node_state() == "paused"


@pytest.mark.parametrize("how", ["it restarts", "its owner pauses and resumes it", "it leaves and restarts"])
def test_a_drain_is_ended_only_by_the_operator(bench: Bench, how: str) -> None:
    bench.submit(placed(8))
    node = bench.join()
    node.lease()
    bench.ledger.nodes.drain("node", "odd pictures")
    if how == "its owner pauses and resumes it":
        bench.ledger.nodes.pause("node", who="owner")
        assert node.beat().order == "pause"
        bench.ledger.nodes.resume("node", who="owner")
    else:
        if how == "it leaves and restarts":
            bench.ledger.nodes.leave(node.id, node.joined.incarnation)
        node = bench.join()

    row = bench.node_row()
    assert (row.state, row.reason) == ("offline", "drained by the operator: odd pictures")
    assert node.claim().lease is None
    assert node.beat().order == "drain"
    bench.ledger.nodes.resume("node")
    assert node.claim().lease is not None
    assert bench.join().claim().lease is not None, "the drain is over"


@pytest.mark.parametrize("state", ["ready", "offline", "draining"])
def test_an_owner_resumes_nothing_but_a_pause(bench: Bench, state: str) -> None:
    bench.submit(placed(1))
    node = bench.join()
    if state == "draining":
        node.lease()
    if state != "ready":
        bench.ledger.nodes.drain("node")

    with pytest.raises(Conflict, match="not paused"):
        bench.ledger.nodes.resume("node", who="owner")
    assert bench.node_state() == state


def test_an_operator_resumes_a_draining_node_with_its_batch(bench: Bench) -> None:
    bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()
    bench.ledger.nodes.drain("node")

    bench.ledger.nodes.resume("node")

    assert node.beat(lease).order == "go on"
    assert bench.node_state() == "busy"


def test_an_owner_shortens_no_quarantine_by_a_pause(bench: Bench) -> None:
    bench.past_the_grace()
    bench.submit(placed(4))
    node = bench.join()
    bench.ledger.nodes.quarantine("node")
    bench.ledger.nodes.pause("node", who="owner")

    bench.ledger.nodes.resume("node", who="owner")

    assert bench.node_state() == "quarantined"
    assert node.claim().lease is None
    bench.let_pass(TIMING.quarantine_s + TIMING.sweep_s, node)
    assert bench.node_state() == "selftest"


@pytest.mark.parametrize("who", ["operator", "owner"])
def test_a_paused_node_that_has_served_its_quarantine_is_tested_when_it_is_resumed(
    bench: Bench, who: Who
) -> None:
    bench.submit(placed(4))
    node = bench.join()
    bench.ledger.nodes.quarantine("node")
    bench.ledger.nodes.pause("node", who=who)
    if who == "owner":
        bench.clock.now += TIMING.quarantine_s

    bench.ledger.nodes.resume("node", who=who)

    assert bench.node_state() == "selftest"
    assert len(node.lease().shots) == 1


def test_a_paused_node_that_is_distrusted_stays_paused_and_keeps_whose_pause_it_is(bench: Bench) -> None:
    bench.join()
    bench.ledger.nodes.pause("node", "a game", who="owner")

    bench.ledger.nodes.quarantine("node", "green pictures")

    (row,) = bench.rows(nodes)
    assert (row.state, row.decided_by, row.reason) == ("paused", "owner", "paused by its owner: a game")
    bench.ledger.nodes.forgive("node")
    bench.ledger.nodes.resume("node", who="owner")
    assert bench.node_state() == "ready"


def test_verbs_on_a_node_that_never_joined_name_it(bench: Bench) -> None:
    nodes = bench.ledger.nodes
    for verb in (nodes.drain, nodes.pause, nodes.resume, nodes.quarantine, nodes.forgive, nodes.forget):
        with pytest.raises(NotFound, match="nobody"):
            verb("nobody")

"""Nodes: they join, send heartbeats, are drained and are missed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from common.errors import Conflict, Gone, NotFound
from common.messages import Heartbeat
from coordinator.calls.grouped_calls import GroupedCalls
from coordinator.calls.thread_pools import ThreadPool
from coordinator.ledger.schema import batches
from tests.contract.ledger.bench import TIMING, Bench, placed


def test_a_node_that_joins_again_gives_its_shots_back_at_once(bench: Bench) -> None:
    job = bench.submit(placed(2))
    bench.join().lease()

    again = bench.join()

    assert again.joined.incarnation == 2
    assert bench.counts(job.job_id) == {"waiting": 2}
    assert [row.outcome for row in bench.rows(batches)] == ["vanished"]


def test_a_process_that_joins_again_is_refused_once_another_has_its_name(bench: Bench) -> None:
    bench.submit(placed(2))
    bench.join(process="first")
    bench.join(process="first", again=True)
    lease = bench.join(process="second").lease()

    with pytest.raises(Conflict, match="--name"):
        bench.join(process="first", again=True)
    bench.finish(lease)
    assert bench.join(process="third").joined.incarnation == 4


def test_a_forgotten_node_is_known_again_once_it_joins(bench: Bench) -> None:
    node = bench.join()
    node.beat(idle_s=60.0)
    with pytest.raises(Conflict, match="it can be forgotten once it is offline or lost"):
        bench.ledger.nodes.forget("node")
    bench.ledger.nodes.leave("node", node.joined.incarnation)
    bench.ledger.nodes.forget("node")

    assert (bench.ledger.nodes.views(), bench.ledger.nodes.readings().nodes) == ([], [])
    totals = bench.ledger.accounts.totals()
    assert (totals.nodes, totals.idle_seconds) == ({}, {8: 60.0})
    with pytest.raises(NotFound):
        bench.ledger.explain("node", version="1")
    with pytest.raises(Gone, match="was restarted"):
        node.beat()
    bench.restart()
    bench.submit(placed(1))
    bench.join().lease()
    assert [one.state for one in bench.ledger.nodes.views()] == ["busy"]


def test_a_drained_node_is_not_forgotten_while_it_runs(bench: Bench) -> None:
    bench.join().beat()
    bench.ledger.nodes.drain("node")
    with pytest.raises(Conflict, match="still runs, and would join again"):
        bench.ledger.nodes.forget("node")
    bench.clock.now += TIMING.lease_s + 1
    bench.ledger.nodes.forget("node")
    assert bench.ledger.nodes.views() == []


def test_beats_of_an_older_incarnation_or_with_a_wrong_token_are_gone(bench: Bench) -> None:
    bench.submit(placed(1))
    old = bench.join()
    node = bench.join()
    lease = node.lease()

    with pytest.raises(Gone, match="was restarted"):
        old.beat()
    with pytest.raises(Gone, match="token"):
        node.beat(lease, token="stolen")


def test_many_beats_are_one_commit_each_with_its_own_answer(bench: Bench) -> None:
    node = bench.join()
    answers = bench.ledger.nodes.heartbeats(
        [
            (node.id, Heartbeat(incarnation=1)),
            (node.id, Heartbeat(incarnation=7)),
            ("stranger", Heartbeat(incarnation=1)),
        ]
    )

    assert [type(answer).__name__ for answer in answers] == ["HeartbeatAnswer", "Gone", "NotFound"]
    assert isinstance(answers[2], NotFound)


def test_a_beat_that_the_database_refuses_fails_no_other(bench: Bench) -> None:
    """Watts that no database can keep stand for whatever a broken node may send."""
    good, bad = bench.join("good"), bench.join("bad")
    beats = GroupedCalls(bench.ledger.nodes.heartbeats, ThreadPool("heartbeats", 1), every_s=0.01)
    unfit: Any = Heartbeat.model_construct(**Heartbeat(incarnation=1).model_dump() | {"watts": object()})

    async def both() -> list[Any]:
        puts = beats.put((good.id, Heartbeat(incarnation=1))), beats.put((bad.id, unfit))
        return await asyncio.gather(*puts, return_exceptions=True)

    answer, refusal = asyncio.run(both())

    assert answer.order == "go on"
    assert isinstance(refusal, Exception)


def test_a_drained_node_finishes_its_batch_and_gets_no_other(bench: Bench) -> None:
    bench.submit(placed(4))
    node = bench.join()
    lease = node.lease()
    bench.ledger.nodes.drain(node.id, "maintenance")

    assert node.beat(lease).order == "drain"
    bench.finish(lease)
    assert bench.node_state() == "offline"
    refused = node.claim().nothing
    assert refused is not None
    assert "offline: drained by the operator: maintenance" in refused.reason
    bench.ledger.nodes.resume(node.id)
    assert node.claim().lease is not None


def test_a_node_that_leaves_is_offline_at_once_and_what_it_held_waits(bench: Bench) -> None:
    job = bench.submit(placed(4))
    node = bench.join()
    node.lease()

    bench.ledger.nodes.leave(node.id, node.joined.incarnation)

    assert bench.node_state() == "offline"
    assert bench.counts(job.job_id) == {"waiting": 4}
    with pytest.raises(Conflict, match="stopped by its owner: restart it there with `farm-node run`"):
        bench.ledger.nodes.resume(node.id)
    assert bench.join().claim().lease is not None


def test_only_the_last_incarnation_of_a_node_may_leave(bench: Bench) -> None:
    old = bench.join()
    bench.join()

    with pytest.raises(Gone, match="was restarted"):
        bench.ledger.nodes.leave(old.id, old.joined.incarnation)
    assert bench.node_state() == "ready"


def test_a_node_that_leaves_sheds_neither_a_pause_nor_distrust(bench: Bench) -> None:
    node = bench.join()
    for steer, state in (
        (bench.ledger.nodes.quarantine, "quarantined"),
        (bench.ledger.nodes.pause, "paused"),
    ):
        steer(node.id)
        bench.ledger.nodes.leave(node.id, node.joined.incarnation)
        assert bench.node_state() == state


def test_a_node_whose_call_is_held_is_not_lost(bench: Bench) -> None:
    parked, silent = bench.join("parked"), bench.join("silent")
    bench.let_pass(TIMING.grace_s, parked, silent)
    for _ in range(int(TIMING.lease_s / TIMING.sweep_s) + 1):
        assert bench.ledger.sweep({"parked"}).lost == ()
        bench.clock.now += TIMING.sweep_s

    assert bench.ledger.sweep({"parked"}).lost == ("silent",)
    assert bench.ledger.sweep().lost == ("parked",)


def test_a_node_that_is_lost_cannot_be_resumed_but_joins_again(bench: Bench) -> None:
    bench.past_the_grace()
    node = bench.join()
    bench.let_pass(TIMING.lease_s + 2 * TIMING.sweep_s)

    with pytest.raises(Conflict, match="lost"):
        bench.ledger.nodes.resume(node.id)
    bench.join()
    assert bench.node_state() == "ready"

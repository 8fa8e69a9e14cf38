"""What time brings: leases run out, nodes are missed, ingest is asked again, coordinators take over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from common.errors import Conflict, Gone, NotFound, Unavailable
from common.messages import Beat, Spent
from common.views import JobSummary
from coordinator.beats import Beats
from coordinator.ledger import PlacedShot, Swept
from coordinator.ledger.schema import batches, nodes
from tests.contract.ledger.bench import TIMING, Bench, placed, work


def _let_pass(bench: Bench, seconds: float) -> list[Swept]:
    """Sweep as the coordinator does while `seconds` pass; what the sweeps found."""
    found = []
    for _ in range(int(seconds / TIMING.sweep_s)):
        bench.clock.now += TIMING.sweep_s
        found.append(bench.ledger.sweep())
    return found


def _past_the_grace(bench: Bench) -> None:
    _let_pass(bench, TIMING.grace_s)


def test_a_lease_that_is_not_renewed_expires_and_its_node_is_lost(bench: Bench) -> None:
    _past_the_grace(bench)
    job = bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()

    found = _let_pass(bench, TIMING.lease_s + 2 * TIMING.sweep_s)

    assert [swept.expired for swept in found if swept.expired] == [(lease.batch_id,)]
    assert bench.counts(job.job_id) == {"waiting": 2}
    assert bench.node_state() == "lost"
    assert bench.shot_row(lease.shots[0].id).attempts == 0
    with pytest.raises(Gone, match="expired"):
        bench.deliver(lease)


def test_a_heartbeat_renews_the_lease(bench: Bench) -> None:
    _past_the_grace(bench)
    bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()

    for _ in range(6):
        _let_pass(bench, TIMING.heartbeat_s)
        assert node.beat(lease).order == "go on"

    assert bench.node_state() == "busy"


def test_a_heartbeat_for_an_expired_lease_is_told_to_stop_and_the_node_lives(bench: Bench) -> None:
    _past_the_grace(bench)
    bench.submit(placed(1))
    node = bench.join()
    lease = node.lease()
    _let_pass(bench, TIMING.lease_s + 2 * TIMING.sweep_s)

    answer = node.beat(lease)

    assert (answer.order, answer.reason) == ("stop", f"batch {lease.batch_id} is over: expired")
    assert bench.node_state() == "ready"


def test_no_lease_expires_in_the_grace_after_a_start(bench: Bench) -> None:
    bench.submit(placed(1))
    bench.join().lease()
    bench.clock.now += 3600
    bench.restart()

    assert not any(swept.expired for swept in _let_pass(bench, TIMING.grace_s - TIMING.sweep_s))
    assert any(swept.expired for swept in _let_pass(bench, 2 * TIMING.sweep_s))


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_no_lease_expires_in_the_grace_after_a_stall_or_a_clock_jump(bench: Bench, jump: float) -> None:
    _past_the_grace(bench)
    bench.submit(placed(1))
    node = bench.join()
    lease = node.lease()
    bench.clock.now += jump

    assert not any(swept.expired for swept in _let_pass(bench, TIMING.grace_s - TIMING.sweep_s))
    assert node.beat(lease).order == "go on"


def test_a_clock_that_is_set_back_lengthens_no_lease_and_no_silence(bench: Bench) -> None:
    _past_the_grace(bench)
    bench.submit(placed(4))
    lease = bench.join().lease()
    other = bench.join("other").lease()
    attempt = bench.deliver(other).attempt_id
    bench.clock.now -= 3600

    found = _let_pass(bench, TIMING.grace_s + TIMING.lease_s + 2 * TIMING.sweep_s)

    assert lease.batch_id in {batch for swept in found for batch in swept.expired}
    assert bench.node_state() == "lost"
    assert attempt in {one for swept in found for one in swept.ingest_again}


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


def test_beats_of_an_older_incarnation_or_with_a_wrong_token_are_gone(bench: Bench) -> None:
    bench.submit(placed(1))
    old = bench.join()
    node = bench.join()
    lease = node.lease()

    with pytest.raises(Gone, match="started again"):
        old.beat()
    with pytest.raises(Gone, match="token"):
        node.beat(lease, token="stolen")


def test_many_beats_are_one_commit_each_with_its_own_answer(bench: Bench) -> None:
    node = bench.join()
    answers = bench.ledger.beats(
        [(node.id, Beat(incarnation=1)), (node.id, Beat(incarnation=7)), ("stranger", Beat(incarnation=1))]
    )

    assert [type(answer).__name__ for answer in answers] == ["BeatAnswer", "Gone", "NotFound"]
    assert isinstance(answers[2], NotFound)


def test_a_beat_that_the_database_refuses_fails_no_other(bench: Bench) -> None:
    """Watts that no database can keep stand for whatever a broken node may send."""
    good, bad = bench.join("good"), bench.join("bad")
    beats = Beats(bench.ledger, gather_s=0.01)
    unfit: Any = Beat.model_construct(**Beat(incarnation=1).model_dump() | {"watts": object()})

    async def both() -> list[Any]:
        puts = beats.put(good.id, Beat(incarnation=1)), beats.put(bad.id, unfit)
        return await asyncio.gather(*puts, return_exceptions=True)

    answer, refusal = asyncio.run(both())

    assert answer.order == "go on"
    assert isinstance(refusal, Exception)


def test_a_drained_node_finishes_its_batch_and_gets_no_other(bench: Bench) -> None:
    bench.submit(placed(4))
    node = bench.join()
    lease = node.lease()
    bench.ledger.drain_node(node.id, "maintenance")

    assert node.beat(lease).order == "drain"
    bench.finish(lease)
    assert bench.node_state() == "offline"
    refused = node.claim().nothing
    assert refused is not None
    assert "offline: drained by the operator: maintenance" in refused.reason
    bench.ledger.resume_node(node.id)
    assert node.claim().lease is not None


def test_a_node_that_is_lost_cannot_be_resumed_but_joins_again(bench: Bench) -> None:
    _past_the_grace(bench)
    node = bench.join()
    _let_pass(bench, TIMING.lease_s + 2 * TIMING.sweep_s)

    with pytest.raises(Conflict, match="lost"):
        bench.ledger.resume_node(node.id)
    bench.join()
    assert bench.node_state() == "ready"


def test_ingest_is_asked_again_for_what_it_did_not_answer(bench: Bench) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()
    attempt = bench.deliver(lease).attempt_id

    found = [swept.ingest_again for swept in _let_pass(bench, 2 * TIMING.ingest_again_s + 6)]

    assert [again for again in found if again] == [(attempt,), (attempt,)]


def test_an_upload_that_ingest_began_three_times_and_never_answered_is_named_with_its_image(
    bench: Bench,
) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()
    attempt = bench.deliver(lease).attempt_id
    assert attempt is not None
    for _ in range(3):
        key = bench.ledger.delivery(attempt).final_key

    found = _let_pass(bench, TIMING.ingest_again_s + 2 * TIMING.sweep_s)

    assert found[-1].unanswered == ((attempt, key),)
    assert not any(swept.ingest_again for swept in found)


def test_an_upload_that_ingest_puts_off_is_asked_for_again_at_no_cost(bench: Bench) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()
    attempt = bench.deliver(lease).attempt_id
    assert attempt is not None
    for _ in range(5):
        bench.ledger.delivery(attempt)
        assert bench.store(attempt, outcome="put off").state == "delivered"

    found = _let_pass(bench, TIMING.ingest_again_s + 2 * TIMING.sweep_s)

    assert attempt in {one for swept in found for one in swept.ingest_again}
    assert bench.store(attempt).state == "done"


def test_a_job_pauses_at_its_budget(bench: Bench) -> None:
    job = bench.submit(placed(10), max_cost=0.001)
    node = bench.join()
    bench.finish(node.lease(), work(3600.0))
    bench.ledger.sweep()

    view = bench.ledger.job(job.job_id)
    assert view.intent == "paused"
    assert "of at most" in view.reason
    assert node.claim().nothing is not None


def test_a_replaced_coordinator_may_write_no_more(bench: Bench) -> None:
    old = bench.ledger
    bench.restart()

    with pytest.raises(Unavailable, match="another coordinator"):
        old.sweep()
    with pytest.raises(Unavailable, match="another coordinator"):
        old.ping()
    bench.ledger.ping()


class Crash(BaseException):
    pass


def _cut_off(bench: Bench, *, paused: bool = False) -> JobSummary:
    """A submission during which the coordinator died, after the next start."""

    def dying() -> Iterator[PlacedShot]:
        yield from placed(5000)
        if paused:
            bench.ledger.pause_job(bench.ledger.jobs()[0].id)
        bench.restart()  # the old coordinator can write no more: as if it were gone
        raise Crash

    with pytest.raises((Crash, Unavailable)):
        bench.submit(dying())
    bench.restart()
    (job,) = bench.ledger.jobs()
    return job


@pytest.mark.parametrize("paused", [False, True])
def test_a_submission_that_a_crash_cut_off_is_cancelled_at_the_next_start(bench: Bench, paused: bool) -> None:
    job = _cut_off(bench, paused=paused)

    assert (job.intent, job.counts) == ("cancelled", {"cancelled": 5000})
    assert "submit it again" in job.reason


def test_a_submission_that_was_cut_off_cannot_be_requeued(bench: Bench) -> None:
    job = _cut_off(bench)

    with pytest.raises(Conflict, match="submit it again"):
        bench.ledger.requeue_job(job.id)
    assert bench.counts(job.id) == {"cancelled": 5000}


def test_a_commit_whose_answer_is_lost_leaves_no_shot_forgotten(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.submit(placed(4))
    node = bench.join()
    lease = node.lease()
    dialect = bench.engine.dialect
    commit = dialect.do_commit

    def commit_and_break(connection: Any) -> None:
        commit(connection)
        raise dialect.loaded_dbapi.OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as broken:
        broken.setattr(dialect, "do_commit", commit_and_break)
        with pytest.raises(Unavailable):
            bench.close(lease, "released")

    announced: list[str] = []
    bench.ledger.on_work(lambda: announced.append("work"))
    bench.ledger.sweep()
    assert announced
    assert sum(bench.backlog_lines().values()) == 4
    assert len(node.lease().shots) == 2


def test_what_a_killed_pass_spent_is_accounted_from_its_heartbeats(bench: Bench) -> None:
    _past_the_grace(bench)
    job = bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()
    bench.deliver(lease, 0, work(2.0, 100.0))
    spent = Spent(joules=450.0, energy_method="sampled", seconds={"denoise": 9.0, "load": 1.0})
    node.beat(lease, spent=spent)
    _let_pass(bench, TIMING.lease_s + 2 * TIMING.sweep_s)

    (batch,) = bench.rows(batches)
    assert (batch.lost_s, batch.lost_joules) == (pytest.approx(8.0), pytest.approx(350.0))
    assert bench.ledger.job(job.job_id).cost > 0


def test_what_a_node_spends_after_its_lease_lapsed_is_accounted_once(bench: Bench) -> None:
    _past_the_grace(bench)
    job = bench.submit(placed(2), max_cost=1000.0)
    node = bench.join()
    lease = node.lease()
    node.beat(lease, spent=work(5.0, 200.0))
    _let_pass(bench, TIMING.lease_s + 2 * TIMING.sweep_s)

    for _ in range(2):
        assert node.beat(lease, spent=work(30.0, 900.0)).order == "stop"

    (batch,) = bench.rows(batches)
    assert (batch.lost_s, batch.lost_joules) == (pytest.approx(30.0), pytest.approx(900.0))
    cost = bench.ledger.job(job.job_id).cost
    assert cost == pytest.approx(batch.lost_cost)
    assert bench.open_job(job.job_id).cost == pytest.approx(cost)


def test_what_a_closing_tells_of_a_pass_without_reports_is_accounted(bench: Bench) -> None:
    job = bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()
    node.beat(lease, spent=Spent(seconds={"load": 1.0}))
    load = Spent(joules=50.0, energy_method="sampled", seconds={"load": 2.0})
    spent = Spent(joules=450.0, energy_method="sampled", seconds={"denoise": 9.0, "load": 2.0})
    bench.close(lease, "failed", failure="engine_died", load=load, spent=spent)

    (batch,) = bench.rows(batches)
    assert (batch.lost_s, batch.lost_joules) == (pytest.approx(9.0), pytest.approx(400.0))
    assert batch.spent_method == "sampled"
    assert bench.ledger.job(job.job_id).cost == pytest.approx(batch.load_cost + batch.lost_cost)


def test_idle_time_is_cumulative_in_an_incarnation_and_adds_up_over_them(bench: Bench) -> None:
    node = bench.join()
    for idle_s, joules in ((10.0, 300.0), (15.0, 400.0), (15.0, 400.0), (10.0, 300.0)):
        node.beat(idle_s=idle_s, idle_joules=joules)
    bench.join().beat(idle_s=5.0, idle_joules=100.0)

    (row,) = bench.rows(nodes)
    assert (row.idle_s, row.idle_joules) == (20.0, 500.0)
    assert bench.ledger.totals().idle_cost[8] == pytest.approx(row.idle_cost) != 0

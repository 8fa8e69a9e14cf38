"""Retention: what is removed of jobs that ended long ago, in which steps, and what stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from common.errors import Gone, NotFound
from common.views import Rejection
from coordinator.ledger import retention
from coordinator.ledger.schema import (
    attempts,
    batches,
    daily_tallies,
    events,
    images,
    job_counts,
    jobs,
    removals,
    shots,
    waiting,
    wants,
)
from tests.contract.ledger.bench import Bench, Holder, placed, work
from tests.contract.ledger.saying import said, shots_of
from tests.ledger_rules import check_ledger, tallied_by_day

DAY_S = 86400.0
KEEP_S = 90 * DAY_S
DETAILS = (wants, removals, waiting, attempts, batches)


@pytest.fixture
def bench(bench: Bench) -> Bench:
    bench.restart(keep_s=KEEP_S)
    return bench


@pytest.fixture
def node(bench: Bench) -> Holder:
    return bench.join()


def done(bench: Bench, node: Holder, number: int, **fields: Any) -> str:
    """A job whose pictures are all stored."""
    job = bench.submit(placed(number, **fields)).job_id
    while (lease := node.claim().lease) is not None:
        bench.finish(lease, work(20.0))
    return job


def grow_old(bench: Bench, node: Holder, seconds: float = KEEP_S + DAY_S) -> None:
    """Let retention notice what has ended, and so much time pass."""
    bench.thin()
    bench.clock.now += seconds
    bench.ledger.sweep()
    node.beat()


def tallied(bench: Bench) -> dict[Any, float]:
    with bench.ledger.transactions.read() as connection:
        return tallied_by_day(connection)


def all_told(bench: Bench, job_id: str) -> tuple[Any, ...]:
    job, totals = bench.ledger.jobs.view(job_id), bench.ledger.accounts.totals()
    return job.status, job.counts, job.cost, job.images, totals.attempts, totals.cost, totals.seconds


def test_a_job_that_ended_long_ago_keeps_counts_bill_pictures_and_daily_sums(
    bench: Bench, node: Holder
) -> None:
    job = done(bench, node, 20)
    before, sums, pictures = all_told(bench, job), tallied(bench), bench.rows(images)
    grow_old(bench, node)
    table = bench.ledger.accounts.cost_table()

    bench.thin()

    assert [bench.rows(table) for table in DETAILS] == [[]] * len(DETAILS)
    assert {row.noun for row in bench.rows(events)} <= {"node"}
    assert all_told(bench, job) == before
    assert bench.ledger.accounts.cost_table() == table
    assert tallied(bench) == pytest.approx(sums)
    assert bench.rows(images) == pictures
    assert {row.state for row in bench.rows(shots)} == {"done"}
    assert bench.ledger.jobs.view(job).details_removed_at == bench.clock.now
    check_ledger(bench.ledger)


def test_a_picture_tells_where_it_came_from_without_its_attempt(bench: Bench, node: Holder) -> None:
    job = done(bench, node, 1)
    grow_old(bench, node)
    bench.thin()

    (image,) = bench.rows(images)
    assert (image.job_id, image.model, image.node_id, image.recipe) == (job, "tiny", node.id, "bf16")
    assert (image.lane, image.vram_class, image.seconds["denoise"]) == ("public", 8, 20.0)
    assert image.cost > 0
    assert "stored" in said(bench, image.shot_id)


@pytest.mark.parametrize("keep_s", [KEEP_S, None])
def test_nothing_younger_is_touched_and_without_a_limit_nothing_at_all(
    bench: Bench, node: Holder, keep_s: float | None
) -> None:
    done(bench, node, 3)
    bench.restart(keep_s=keep_s)
    grow_old(bench, node, KEEP_S - 1 if keep_s else 1000 * KEEP_S)
    before = [bench.rows(table) for table in (*DETAILS, shots, events)]

    bench.thin()

    assert [bench.rows(table) for table in (*DETAILS, shots, events)] == before
    bench.clock.now += 2
    assert (bench.thin() > 1) == (keep_s is not None)


def test_a_job_with_something_left_to_do_is_never_old(bench: Bench, node: Holder) -> None:
    job = bench.submit(placed(4)).job_id
    bench.finish(node.lease())
    bench.ledger.jobs.pause(job)
    grow_old(bench, node)
    bench.thin()
    assert len(bench.ledger.shots.of_job(job)) == 4

    bench.ledger.jobs.cancel(job)
    grow_old(bench, node, KEEP_S - 1)
    bench.thin()
    assert bench.counts(job) == {"done": 2, "cancelled": 2}
    assert len(bench.ledger.shots.of_job(job)) == 4


def test_what_begins_anew_is_kept_until_so_long_after_its_next_end(bench: Bench, node: Holder) -> None:
    job = bench.submit(placed(2)).job_id
    bench.fail(node.lease(), "invalid_spec")
    bench.ledger.jobs.cancel(job)
    bench.past_the_grace()
    node = bench.join()
    grow_old(bench, node, KEEP_S - DAY_S)
    bench.ledger.jobs.requeue(job)
    while (lease := node.claim().lease) is not None:
        bench.finish(lease)
    grow_old(bench, node, 2 * DAY_S)
    bench.thin()
    assert len(bench.ledger.shots.of_job(job)) == 2

    bench.clock.now += KEEP_S
    bench.thin()
    with pytest.raises(Gone):
        bench.ledger.shots.of_job(job)
    check_ledger(bench.ledger)


def test_a_shot_that_a_younger_job_wants_keeps_what_belongs_to_it(bench: Bench, node: Holder) -> None:
    old = done(bench, node, 4)
    grow_old(bench, node, KEEP_S - DAY_S)
    young = bench.submit(placed(2)).job_id
    shared = set(shots_of(bench, young))
    grow_old(bench, node, 2 * DAY_S)
    bench.thin()

    assert {row.shot_id for row in bench.rows(attempts)} == shared
    assert {row.id for row in bench.rows(batches)} == {row.batch_id for row in bench.rows(attempts)}
    assert bench.transitions(min(shared)) == ["claimed", "delivered", "stored"]
    assert [image.state for image in bench.ledger.shots.of_job(young)] == ["done", "done"]
    assert bench.counts(old) == {"done": 4}
    check_ledger(bench.ledger)

    bench.clock.now += KEEP_S
    bench.thin()
    assert [bench.rows(table) for table in DETAILS] == [[]] * len(DETAILS)
    check_ledger(bench.ledger)


def test_a_shot_that_fitted_no_card_leaves_no_event_behind(bench: Bench, node: Holder) -> None:
    """It is cancelled and removed in one transaction."""
    bench.submit([*placed(2), *placed(1, first=50, width=4096, min_class=0)])
    bench.finish(node.lease())
    grow_old(bench, node)
    bench.thin()

    assert len(bench.rows(shots)) == 2
    check_ledger(bench.ledger)


def test_shots_that_never_had_a_picture_go_with_the_last_job_that_wants_them(
    bench: Bench, node: Holder
) -> None:
    job = bench.submit([*placed(4), *placed(1, first=50, width=4096, min_class=0)]).job_id
    lease = node.lease()
    bench.fail(lease, "invalid_spec")
    bench.store(bench.deliver(lease, 1).attempt_id)
    bench.close(lease)
    bench.ledger.jobs.cancel(job)
    counts = bench.counts(job)
    grow_old(bench, node)
    bench.thin()

    (kept,) = bench.rows(shots)
    assert (kept.id, kept.state) == (lease.shots[1].id, "done")
    assert bench.counts(job) == counts
    with pytest.raises(NotFound):
        said(bench, lease.shots[0].id)
    check_ledger(bench.ledger)


def test_a_rejected_picture_stays_counted_and_its_shot_stays(bench: Bench, node: Holder) -> None:
    job = done(bench, node, 3)
    first, second, _ = shots_of(bench, job)
    bench.ledger.shots.reject(first, Rejection(by="ana"))
    bench.ledger.images.delete(second, "ana")
    before = all_told(bench, job)
    grow_old(bench, node)
    bench.thin()

    assert bench.rows(removals) == []
    assert all_told(bench, job) == before
    assert len(bench.rows(shots)) == 3
    check_ledger(bench.ledger)


def test_every_question_about_a_thinned_job_is_answered_with_what_is_gone_when_and_why(
    bench: Bench, node: Holder
) -> None:
    job = done(bench, node, 2)
    grow_old(bench, node)
    bench.thin()
    told = r"removed on 1970-04-\d\d \(setting `retention.details_days`\)"

    ledger = bench.ledger
    for ask in (
        ledger.shots.of_job,
        ledger.accounts.cost_table,
        ledger.jobs.retry,
        ledger.jobs.requeue,
        ledger.jobs.resume,
        ledger.jobs.accept_failures,
        lambda job_id: ledger.images.delete_of_job(job_id, "ana"),
    ):
        with pytest.raises(Gone, match=told):
            ask(job)
    sentences = said(bench, job)
    assert "2 of 2 images stored" in sentences
    assert "Its shots, attempts and events were removed on 1970-04-" in sentences


def test_a_manifest_submitted_again_reuses_the_pictures_of_its_thinned_job(
    bench: Bench, node: Holder
) -> None:
    done(bench, node, 3)
    grow_old(bench, node)
    bench.thin()

    again = bench.submit(placed(3))
    assert (again.reused, again.new) == (3, 0)
    assert all(image.key for image in bench.ledger.shots.of_job(again.job_id))
    check_ledger(bench.ledger)


@contextmanager
def small_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as small:
        small.setattr(retention, "WANTS", 4)
        small.setattr(retention, "ROWS", 60)
        yield


def _steps(bench: Bench) -> list[int]:
    """Statements of each transaction until all is removed."""
    found = []
    more = True
    while more:
        with bench.counted_statements() as statements:
            more = bench.ledger.thin()
        found.append(len(statements))
    return found


def test_ten_times_the_rows_take_ten_times_the_transactions_and_no_longer_ones(
    bench: Bench, node: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(bench, node, 8)
    grow_old(bench, node)
    with small_steps(monkeypatch):
        few = _steps(bench)
        done(bench, node, 80, first=100)
        grow_old(bench, node)
        many = _steps(bench)

    # Each has one that finds nothing more of the job, and one that finds no job.
    assert len(many) - 2 <= 10 * (len(few) - 2) + 1
    assert max(many) <= max(few) + 2
    assert bench.rows(attempts) == []


def test_a_stop_between_two_steps_loses_nothing_and_the_next_coordinator_goes_on(
    bench: Bench, node: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = done(bench, node, 20)
    before, sums = all_told(bench, job), tallied(bench)
    grow_old(bench, node)
    with small_steps(monkeypatch):
        while bench.ledger.thin():
            bench.restart()
            check_ledger(bench.ledger)
            assert all_told(bench, job) == before
            assert tallied(bench) == pytest.approx(sums)

    assert [row.thinned_at is not None for row in bench.rows(jobs)] == [True]
    assert sum(row.thinned for row in bench.rows(job_counts)) == 20
    assert len({row.day for row in bench.rows(daily_tallies)}) == 1


def test_a_job_that_is_being_thinned_is_given_no_work(
    bench: Bench, node: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where another job revives a shot that both want."""
    old = bench.submit(placed(12)).job_id
    bench.ledger.jobs.cancel(old)
    grow_old(bench, node)
    with small_steps(monkeypatch):
        bench.ledger.thin()
        young = bench.submit(placed(12)).job_id
        check_ledger(bench.ledger)
        while (lease := node.claim().lease) is not None:
            bench.finish(lease)
        bench.thin()

    assert {row.job_id for row in bench.rows(batches)} == {young}
    assert bench.counts(young) == {"done": 12}
    assert sum(bench.counts(old).values()) == 12
    check_ledger(bench.ledger)


def test_events_of_nodes_go_by_their_age(bench: Bench, node: Holder) -> None:
    done(bench, node, 4)
    grow_old(bench, node)
    node.claim()
    bench.submit(placed(2, first=50))
    lease = node.lease()
    bench.thin()

    of_nodes = [row for row in bench.rows(events) if row.noun == "node"]
    assert of_nodes
    assert all(row.at >= bench.clock.now - KEEP_S for row in of_nodes)
    bench.finish(lease)
    check_ledger(bench.ledger)

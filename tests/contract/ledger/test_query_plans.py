"""No query of sweeper, dispatcher or node, and no page of the farm's state walks a table that grows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from common.embeddings import Embedded
from common.errors import NotFound
from common.views import Rejection
from coordinator.ledger import Topic, open_engine
from coordinator.ledger.schema import batches, shots
from tests.contract.ledger.bench import TIMING, Bench, placed
from tests.contract.ledger.plans import counted_steps, walked_tables

#: They grow with every shot; nodes, jobs and groups are few.
GROWING = {"shots", "wants", "attempts", "batches", "images", "events", "removals", "deleted_images"}
GROWING |= {"idempotency_keys", "embedded_texts", "hash_parts"}


@pytest.fixture
def worked(bench: Bench) -> Bench:
    """A ledger with shots in many states, and a batch in hand."""
    bench.restart(keep_s=1.0)
    first, second = bench.join("first"), bench.join("second")
    bench.submit(placed(40), max_cost=100.0)
    bench.submit(placed(40, first=20))
    bench.submit(placed(3, first=100, width=4096, min_class=0))
    bench.finish(first.lease())
    bench.fail(first.lease(), "invalid_spec")
    bench.deliver(second.lease())
    cancelled = bench.submit(placed(5, first=200)).job_id
    bench.ledger.jobs.cancel(cancelled)
    return bench


def _expire(bench: Bench) -> None:
    """A lease lapses, nodes fall silent, ingest does not answer, until it is asked no more."""
    swept = []
    for _ in range(int(4 * TIMING.ingest_again_s / TIMING.sweep_s)):
        bench.clock.now += TIMING.sweep_s
        swept.append(bench.ledger.sweep())
    assert any(one.expired for one in swept)
    assert any(one.lost for one in swept)
    assert any(one.ingest_again for one in swept)


def _set_clock_back(bench: Bench) -> None:
    bench.ledger.sweep()
    bench.clock.now -= 3600
    bench.ledger.sweep()


def _pause_overspent(bench: Bench) -> None:
    bench.submit(placed(40, first=300), max_cost=0.0001)
    holder = bench.join("third")
    bench.finish(holder.lease())
    bench.ledger.sweep()


def _dispatch(bench: Bench) -> None:
    bench.join("third")
    assert bench.ledger.backlog.ticket_demand()
    assert bench.ledger.nodes.views()


def _claim(bench: Bench) -> None:
    holder = bench.join("third")
    lease = holder.lease()
    holder.beat(lease)
    bench.finish(lease)
    lease = holder.lease(ticket="same")
    assert holder.lease(ticket="same") == lease
    bench.fail(lease, "corrupt_image")
    bench.close(lease, "released")


def _embed(bench: Bench) -> None:
    """What nodes tell of the embeddings in the store, and what becomes of them."""
    shots = [one._replace(texts="t") for one in placed(6, first=600)]
    bench.submit(shots, priority=100)
    lease = bench.join("third").lease()
    bench.ledger.embeddings.note_batch(lease.batch_id, Embedded({}, {}))
    bench.ledger.embeddings.note_texts(["t"], Embedded({}, {}))
    bench.ledger.embeddings.ahead(lease.batch_id, "third", Embedded({}, {}), ())
    bench.submit([one._replace(texts="t") for one in placed(2, first=700)])
    bench.ledger.embeddings.forget_before(bench.clock.now)
    bench.ledger.embeddings.forget_batch(lease.batch_id)


def _steer(bench: Bench) -> None:
    """What the operator does to a job."""
    job_id = bench.submit(placed(5, first=400)).job_id
    bench.ledger.jobs.pause(job_id)
    bench.ledger.jobs.resume(job_id)
    bench.ledger.jobs.cancel(job_id)
    bench.ledger.jobs.requeue(job_id)
    bench.ledger.jobs.prioritise(job_id, 60)
    bench.ledger.jobs.retry(job_id)
    bench.ledger.jobs.accept_failures(job_id)


def _remove(bench: Bench) -> None:
    """What the operator does to pictures."""
    job_id = bench.jobs()[-1].id
    first, second, *_ = [image for image in bench.ledger.shots.of_job(job_id) if image.key]
    bench.ledger.shots.reject(first.shot_id, Rejection(redo="next seed"), job_id)
    bench.ledger.images.delete(second.shot_id, "ana")
    bench.ledger.jobs.cancel(job_id)
    bench.ledger.images.delete_of_job(job_id, "ana")
    bench.ledger.images.erased([picture.key for picture in bench.ledger.images.doomed(10)])
    with pytest.raises(NotFound):
        bench.ledger.images.delete_content("0" * 64, "ana")


def _look_at_pictures(bench: Bench) -> None:
    """What operators decide about withheld images, and whoever has a file asks of it."""
    bench.submit(placed(2, first=900), priority=100)
    lease = bench.join("third").lease()
    for index, withheld in enumerate(("marked", "")):
        attempt_id = bench.deliver(lease, index).attempt_id
        bench.store(attempt_id, withheld=withheld, perceptual_hash="0" * 160)
    assert bench.ledger.images.number_withheld() == len(bench.ledger.images.withheld()) == 1
    bench.ledger.images.approve(lease.shots[0].id)
    for owner in (None, "nobody"):
        bench.ledger.images.made_alike("0" * 159 + "1", owner)
        bench.ledger.images.made("0" * 64, owner)


def _ask(bench: Bench) -> None:
    """What the operator asks about one job, shot or node."""
    job_id = bench.submit(placed(5, first=400), name="asked").job_id
    bench.ledger.jobs.view(job_id)
    bench.ledger.shots.of_job(job_id)
    bench.ledger.accounts.cost_table(job_id)
    image = bench.ledger.shots.of_job(job_id)[0]
    for subject in (job_id, "asked", image.shot_id, image.name, "first"):
        assert bench.ledger.explain(subject, version="1").sentences


def _watch(bench: Bench) -> None:
    """What watchers are told, and those that come back."""
    before = bench.ledger.events.last()
    job_id = bench.submit(placed(2, first=800), priority=100).job_id
    bench.finish(bench.join("third").lease())
    for topic in (Topic(), Topic(job_id), Topic(owner="ana")):
        assert bench.ledger.events.page(before, topic).shots
    assert bench.ledger.events.keeps(before)
    assert bench.ledger.events.job(job_id).counts == {"done": 2}


def _thin(bench: Bench) -> None:
    """Of a job that has ended nothing is left but its row and its pictures."""
    job_id = bench.submit(placed(2, first=500), priority=100).job_id
    bench.finish(bench.join("third").lease())
    bench.ledger.shots.reject(bench.ledger.shots.of_job(job_id)[0].shot_id, Rejection(redo="no"))
    for _ in range(8):
        bench.ledger.thin()
        bench.clock.now += 2
    assert bench.ledger.jobs.view(job_id).details_removed_at


@pytest.mark.parametrize(
    "act",
    [
        _expire,
        _set_clock_back,
        _pause_overspent,
        _dispatch,
        _claim,
        _embed,
        _steer,
        _remove,
        _look_at_pictures,
        _ask,
        _watch,
        _thin,
    ],
    ids=lambda act: act.__name__.strip("_"),
)
def test_no_query_walks_a_table_that_grows(
    engine: Engine, worked: Bench, act: Callable[[Bench], None]
) -> None:
    with walked_tables(engine) as walks:
        act(worked)
    assert not [walk for walk in walks if walk[0] in GROWING]


def test_a_start_reads_what_waits_and_not_all_that_jobs_ever_wanted(engine: Engine, worked: Bench) -> None:
    with walked_tables(engine) as walks:
        worked.restart()
    assert not [walk for walk in walks if walk[0] in {"shots", "wants", "images", "events"}]


def test_a_walk_through_a_table_is_found(engine: Engine, worked: Bench) -> None:
    with walked_tables(engine) as walks, engine.begin() as connection:
        connection.execute(select(shots.c.id).where(shots.c.reason == "none")).all()
        connection.execute(select(shots.c.reason).where(shots.c.id == "none")).all()
    assert [table for table, _ in walks] == ["shots"]


def _look_at_all(bench: Bench) -> None:
    """What a scrape and a page of the farm's state ask for."""
    bench.ledger.accounts.totals()
    bench.ledger.accounts.images()
    bench.ledger.jobs.unfinished()
    bench.jobs()
    bench.ledger.nodes.views()
    bench.ledger.accounts.cost_table()


def test_totals_and_the_list_of_jobs_read_no_history(engine: Engine, worked: Bench) -> None:
    with walked_tables(engine) as walks:
        _look_at_all(worked)
    assert not [walk for walk in walks if walk[0] in GROWING]


def test_a_scrape_reads_no_more_after_ten_times_the_history(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    bench = Bench(engine)
    bench.submit(placed(100))
    node, taken = bench.join(), []
    bench.finish(node.lease())
    for _ in range(2):
        with counted_steps(engine) as steps:
            _look_at_all(bench)
            taken.append(steps())
        while lease := node.claim().lease:
            bench.finish(lease)
    engine.dispose()
    few, many = taken
    assert 0 < many <= 1.2 * few


def _steps_of_a_claim(tmp_path: Path, foreign: int) -> int:
    """For a job of two shots behind so many of another owner that are alike."""
    engine = open_engine(f"sqlite:///{tmp_path / f'{foreign}.sqlite'}")
    bench = Bench(engine)
    bench.submit(placed(foreign, first=100), owner="studio")
    mine = bench.submit(placed(2), owner="shop", priority=60).job_id
    node = bench.join()
    with counted_steps(engine) as steps:
        lease = node.lease()
        taken = steps()
    assert {row.job_id for row in bench.rows(batches)} == {mine}
    assert len(lease.shots) == 2
    engine.dispose()
    return taken


def test_a_claim_reads_what_it_takes_however_much_waits_for_others(tmp_path: Path) -> None:
    few, many = _steps_of_a_claim(tmp_path, 300), _steps_of_a_claim(tmp_path, 3_000)
    assert 0 < many <= 1.2 * few

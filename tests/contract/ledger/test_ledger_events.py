"""The event log as watchers read it: nothing is missing, nothing is of others, and what is gone is said."""

from __future__ import annotations

from itertools import pairwise

import pytest

from common.events import Event
from common.views import Rejection
from coordinator.ledger import EVERYTHING, Topic, event_log
from tests.contract.ledger.bench import Bench, Holder, placed
from tests.contract.ledger.saying import shots_of

DAY_S = 86400.0


@pytest.fixture
def node(bench: Bench) -> Holder:
    return bench.join()


def told(bench: Bench, after: int = 0, topic: Topic = EVERYTHING) -> list[Event]:
    """All events behind `after`, page by page."""
    found: list[Event] = []
    more = True
    while more:
        after, more, shots, jobs, _ = bench.ledger.events.page(after, topic)
        found += [*shots, *jobs]
    return found


def of_shots(events: list[Event]) -> list[tuple[str, str, int | None]]:
    return [(event.job, event.state, event.position) for event in events if event.type == "shot"]


def of_jobs(events: list[Event]) -> list[tuple[str, str, dict[str, int], bool]]:
    return [(event.job, event.status, event.counts, event.ended) for event in events if event.type == "job"]


def render(bench: Bench, node: Holder) -> None:
    while (lease := node.claim().lease) is not None:
        bench.finish(lease)


def test_a_watcher_is_told_what_became_of_each_shot_and_of_its_job(bench: Bench, node: Holder) -> None:
    job = bench.submit(placed(3)).job_id
    assert of_jobs(told(bench)) == [(job, "waiting", {"waiting": 3}, False)]
    begun = bench.ledger.events.last()
    lease = node.lease()
    assert of_jobs(told(bench, begun))[0][1] == "running"
    leased = bench.ledger.events.last()
    bench.finish(lease)
    render(bench, node)

    shots = [event for event in told(bench, leased) if event.type == "shot"]

    assert {event.state for event in shots} == {"done"}
    assert [(event.position, event.name, event.shot) for event in shots] == [
        (image.position, image.name, image.shot_id) for image in bench.ledger.shots.of_job(job)
    ]
    assert of_jobs(told(bench, leased)) == [(job, "done", {"done": 3}, False)]


def test_a_job_ends_once_and_again_after_it_was_begun_anew(bench: Bench, node: Holder) -> None:
    job = bench.submit(placed(1)).job_id
    while bench.counts(job) == {"waiting": 1}:
        node.fail("invalid_spec")
        bench.rest()
    bench.thin()
    ended = bench.ledger.events.last()
    assert of_jobs(told(bench)) == [(job, "failed", {"failed": 1}, True)]
    assert [event.failure for event in told(bench) if event.type == "shot"] == ["invalid_spec"]
    bench.thin()
    assert told(bench, ended) == []

    bench.ledger.jobs.retry(job)
    bench.rest()
    render(bench, node)
    bench.thin()

    assert of_shots(told(bench, ended)) == [(job, "waiting", 0), (job, "done", 0)]
    assert of_jobs(told(bench, ended)) == [(job, "done", {"done": 1}, True)]


def test_what_a_person_does_to_a_job_is_told(bench: Bench, node: Holder) -> None:
    job = bench.submit(placed(2)).job_id
    seen = []
    for step in (bench.ledger.jobs.pause, bench.ledger.jobs.resume, bench.ledger.jobs.cancel):
        before = bench.ledger.events.last()
        step(job)
        seen.append(of_jobs(told(bench, before))[0][1])
    assert seen == ["paused", "waiting", "cancelled"]
    bench.ledger.jobs.requeue(job)
    render(bench, node)
    before = bench.ledger.events.last()
    shot, other = shots_of(bench, job)

    bench.ledger.shots.reject(shot, Rejection(redo="next seed"))
    bench.ledger.images.delete(other, "ana")

    events = told(bench, before)
    assert of_shots(events) == [(job, "rejected", None), (job, "deleted", None)]
    assert [event.shot for event in events if event.type == "shot"] == [shot, other]
    assert of_jobs(events) == [(job, "waiting", {"deleted": 1, "waiting": 1}, False)]


def test_a_shared_shot_is_told_to_each_job_and_a_topic_leaves_out_the_others(
    bench: Bench, node: Holder
) -> None:
    mine = bench.submit(placed(2), owner="ana").job_id
    theirs = bench.submit(placed(2, first=1), owner="bo").job_id
    render(bench, node)

    assert sorted(of_shots(told(bench))) == sorted(
        [(mine, "done", 0), (mine, "done", 1), (theirs, "done", 0), (theirs, "done", 1)]
    )
    for topic in (Topic(owner="bo"), Topic(theirs), Topic(theirs, "bo")):
        assert {event.job for event in told(bench, topic=topic)} == {theirs}
        assert sorted(of_shots(told(bench, topic=topic))) == [(theirs, "done", 0), (theirs, "done", 1)]
    assert told(bench, topic=Topic(theirs, "ana")) == []


def test_every_event_is_on_one_page_and_each_id_is_larger_than_the_last(
    bench: Bench, node: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = bench.submit(placed(7)).job_id
    render(bench, node)
    whole = [event for event in told(bench) if event.type == "shot"]
    monkeypatch.setattr(event_log, "PAGE", 4)
    paged = told(bench)

    assert [event for event in paged if event.type == "shot"] == whole
    assert len(whole) == 7
    assert all(one.id < other.id for one, other in pairwise(whole))
    assert of_jobs(paged)[-1] == (job, "done", {"done": 7}, False)
    assert bench.ledger.events.job(job).counts == {"done": 7}


def test_events_of_another_ledger_and_too_many_are_not_kept(
    bench: Bench, node: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.submit(placed(2))
    render(bench, node)
    last = bench.ledger.events.last()
    assert bench.ledger.events.keeps(last)
    assert bench.ledger.events.keeps(0)
    assert not bench.ledger.events.keeps(last + 1)
    monkeypatch.setattr(event_log, "MOST_BEHIND", 3)
    assert not bench.ledger.events.keeps(0)
    assert bench.ledger.events.keeps(last - 3)


def test_what_retention_removed_is_not_kept(bench: Bench) -> None:
    bench.restart(keep_s=DAY_S)
    node = bench.join()
    bench.submit(placed(2))
    render(bench, node)
    bench.thin()
    old = bench.ledger.events.last()
    bench.clock.now += 2 * DAY_S
    bench.thin()
    bench.submit(placed(1, first=10))
    young = bench.ledger.events.last()
    bench.submit(placed(1, first=11))

    assert not bench.ledger.events.keeps(old)
    assert bench.ledger.events.keeps(young)
    assert len(of_jobs(told(bench, young))) == 1

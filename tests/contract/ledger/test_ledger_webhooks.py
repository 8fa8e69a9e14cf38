"""How far webhooks are, and when events are given up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from common.errors import NotFound
from common.webhooks import NewWebhook, WebhookMessage
from coordinator.background import webhooks
from coordinator.background.receivers import Receivers
from coordinator.background.webhooks import WebhookSender
from coordinator.calls.thread_pools import ThreadPool
from tests.contract.ledger.bench import Bench, placed
from tests.receiver import Receiver, receiver
from tests.waiting import PATIENCE_S, until

DAY_S = 86400.0


@contextmanager
def sending(bench: Bench, lost: list[int]) -> Iterator[WebhookSender]:
    """A sender that goes by the clock of the bench."""
    pool = ThreadPool("events", 1)
    sender = WebhookSender(
        bench.ledger,
        pool,
        Receivers(private_addresses=True),
        note_post=lambda _: None,
        note_given_up=lost.append,
        clock=bench.clock,
    )
    bench.ledger.commits.on_events(sender.wake)
    sender.start()
    try:
        yield sender
    finally:
        sender.stop()
        pool.close()


def end_job(bench: Bench, first: int) -> str:
    job = bench.submit(placed(1, first=first)).job_id
    bench.ledger.jobs.cancel(job)
    bench.thin()
    return job


def jobs_of(there: Receiver) -> list[str]:
    message = WebhookMessage.model_validate_json(there.next().body)
    return [event.job for event in message.events if event.type == "job"]


def test_events_of_a_receiver_that_fails_for_a_day_are_given_up_and_later_ones_are_sent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_REST_S", 0.01)
    lost: list[int] = []
    with receiver() as there, sending(bench, lost) as sender:
        there.statuses = [500]
        hook = bench.ledger.webhooks.add(NewWebhook(url=there.url, events=("job",))).id
        sender.reload()
        old = end_job(bench, 0)
        assert jobs_of(there) == [old]
        until(lambda: bench.ledger.webhooks.views()[0].failing_since is not None, within_s=PATIENCE_S)
        bench.clock.now += 2 * DAY_S
        young = end_job(bench, 1)

        assert jobs_of(there) == [young]

        until(lambda: bench.ledger.webhooks.views()[0].failing_since is None, within_s=PATIENCE_S)
        (view,) = bench.ledger.webhooks.views()
        assert (view.id, view.given_up, lost) == (hook, 1, [1])
        bench.ledger.webhooks.remove(hook)
        assert bench.ledger.webhooks.views() == []
        with pytest.raises(NotFound):
            bench.ledger.webhooks.one(hook)

"""Counters of the coordinator process: requests answered and rejected, tickets and webhooks sent."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import get_args

from prometheus_client import Counter, disable_created_metrics
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from common.errors import Reason
from common.messages import Fallback

_MINUTE_S = 60.0

# A `_created` series for each label would double the series and only repeat the start of the coordinator.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Traffic(Collector):
    """Counts since the start of this process; thread-safe."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._requests = _counter("farm_requests", "Requests answered", "route", "status")
        self._refusals = _counter("farm_refusals", "Requests rejected", "reason")
        self._tickets = _counter("farm_tickets_published", "Tickets published", "lane", "vram_class")
        for reason in get_args(Reason):
            self._refusals.labels(reason)
        self._embeddings = _counter(
            "farm_embeddings", "Texts of batches by source of their embedding", "source"
        )
        self._fallbacks = _counter(
            "farm_embedding_fallbacks", "Texts encoded because no stored embedding could be used", "reason"
        )
        for cause in get_args(Fallback):
            self._fallbacks.labels(cause)
        self._webhook_posts = _counter("farm_webhook_posts", "Messages posted to webhooks", "outcome")
        for outcome in ("taken", "failed"):
            self._webhook_posts.labels(outcome)
        self._given_up = _counter("farm_webhook_events_given_up", "Events that no webhook receiver took")
        self._recent_requests = _LastMinute(monotonic)
        self._recent_tickets = _LastMinute(monotonic)

    def request(self, route: str, status: int) -> None:
        self._requests.labels(route, status).inc()
        self._recent_requests.note()

    def refusal(self, reason: Reason) -> None:
        self._refusals.labels(reason).inc()

    def ticket(self, lane: str, vram_class: int) -> None:
        self._tickets.labels(lane, vram_class).inc()
        self._recent_tickets.note()

    def embeddings(self, fetched: int, encoded: int, ahead: int, fallbacks: Mapping[Fallback, int]) -> None:
        """Count the texts of a batch, and those that its node encoded `ahead` of other batches."""
        self._embeddings.labels("store").inc(fetched)
        self._embeddings.labels("encoder").inc(encoded)
        self._embeddings.labels("ahead").inc(ahead)
        for reason, texts in fallbacks.items():
            self._fallbacks.labels(reason).inc(texts)

    def webhook_post(self, taken: bool) -> None:
        self._webhook_posts.labels("taken" if taken else "failed").inc()

    def webhook_events_given_up(self, events: int) -> None:
        self._given_up.inc(events)

    def collect(self) -> Iterator[Metric]:
        for counter in (
            self._requests,
            self._refusals,
            self._tickets,
            self._embeddings,
            self._fallbacks,
            self._webhook_posts,
            self._given_up,
        ):
            yield from counter.collect()

    def requests_per_minute(self) -> int:
        return self._recent_requests.count()

    def tickets_per_minute(self) -> int:
        return self._recent_tickets.count()


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, f"{text} since the coordinator's start.", labels, registry=None)


class _LastMinute:
    """Number of events in the last 60 s, which a counter cannot provide."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._moments: deque[float] = deque()

    def note(self) -> None:
        with self._lock:
            self._moments.append(self._monotonic())
            self._forget()

    def count(self) -> int:
        with self._lock:
            self._forget()
            return len(self._moments)

    def _forget(self) -> None:
        since = self._monotonic() - _MINUTE_S
        while self._moments and self._moments[0] < since:
            self._moments.popleft()

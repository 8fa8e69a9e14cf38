"""The overview: jobs, rate, cost, nodes, what waits and why, and what needs someone's action."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Generic, NamedTuple, TypeVar

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import State

from common.errors import FarmError, Unavailable
from common.nodes import INGEST_QUEUE
from common.scopes import Bounds
from common.units import counted
from common.views import Explanation, JobProgress, NodeView
from coordinator.explain.fleet import idle_sentences, in_service, slow_sentences
from coordinator.farm import Farm
from coordinator.ledger.overview import Overview
from coordinator.web.rendering import page
from coordinator.web.visitor import TheViewer, TheVisitor, Visitor

router = APIRouter()

#: Seconds for which an overview counts, and explanations of what waits, however many people look.
_FRESH_S = 2.0
_WAITS_S = 5.0
#: The same as a multiple of what it took to work them out: the share of a core is bounded.
_REST = 20.0
#: Jobs whose wait is explained, and sentences about each.
_EXPLAINED = 3
_SENTENCES = 4
#: Sentences about what needs someone's action.
_INCIDENTS = 12

T = TypeVar("T")


@dataclass(slots=True)
class Remembered(Generic[T]):
    """Answers that count for a while, by who asks, the longer the more work they were.

    One is worked out at a time, in a thread that `run` gives; who waits for it holds none.
    """

    seconds: float
    run: Callable[[Callable[[], tuple[T, float]]], Awaitable[tuple[T, float]]]
    monotonic: Callable[[], float] = time.monotonic
    _known: dict[object, tuple[float, T]] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self, key: object, work_out: Callable[[], T]) -> T:
        if not self._counts(key):
            async with self._lock:
                if not self._counts(key):
                    await self._renew(key, work_out)
        return self._known[key][1]

    def _counts(self, key: object) -> bool:
        return key in self._known and self._known[key][0] > self.monotonic()

    async def _renew(self, key: object, work_out: Callable[[], T]) -> None:
        def timed() -> tuple[T, float]:
            began = self.monotonic()
            return work_out(), self.monotonic() - began

        answer, took_s = await self.run(timed)
        now = self.monotonic()
        self._known = {each: known for each, known in self._known.items() if known[0] > now}
        self._known[key] = now + max(self.seconds, _REST * took_s), answer


class JobWait(NamedTuple):
    """Why a job has nothing running."""

    job: JobProgress
    sentences: tuple[str, ...]
    remedy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    found: Overview
    #: Of running jobs, in the last minutes in which images were stored; None while none runs.
    images_per_minute: float | None
    waiting: int
    running: int
    in_service: int
    nodes: int
    #: Class to the number of nodes by state.
    fleet: Mapping[int, Mapping[str, int]]
    incidents: tuple[str, ...]
    currency: str

    @property
    def is_live(self) -> bool:
        """Whether a job goes on, so that figures change soon."""
        return self.waiting + self.running > 0

    @property
    def version(self) -> str:
        """Changes with anything that is shown."""
        return sha256(repr(self).encode()).hexdigest()[:16]


@router.get("/")
async def show(request: Request, visitor: TheVisitor) -> Response:
    """The page."""
    withheld = 0
    if visitor.may_operate:
        withheld = await run_in_threadpool(visitor.farm.ledger.images.number_withheld)
    return page(request, "overview.html", state=await _state(request, visitor), withheld=withheld)


@router.get("/overview")
async def part(request: Request, visitor: TheViewer, seen: str = "") -> Response:
    """What of the page changes; nothing if that is what was `seen`."""
    state = await _state(request, visitor)
    if seen == state.version:
        return Response(status_code=204)
    return page(request, "overview_part.html", state=state)


@router.get("/waits")
async def waits(request: Request, visitor: TheViewer) -> Response:
    """What waits, and why. Takes a while where much waits, so it is a part of its own."""
    known: Remembered[tuple[JobWait, ...]] = request.app.state.waits
    found = await known.get(visitor.bounds, lambda: tuple(_waits(visitor.farm, visitor.bounds)))
    return page(request, "waits.html", waits=found)


async def _state(request: Request, visitor: Visitor) -> Snapshot:
    known: Remembered[Snapshot] = request.app.state.overviews
    return await known.get(visitor.bounds, lambda: _look(visitor.farm, visitor.bounds))


def remember(state: State, farm: Farm) -> None:
    """Give the pages of an application what they remember."""
    explain = farm.threads.explanations.run
    state.overviews = Remembered[Snapshot](_FRESH_S, run_in_threadpool)
    state.waits = Remembered[tuple[JobWait, ...]](_WAITS_S, explain)
    state.reasons = Remembered[Explanation](_WAITS_S, explain)


def _look(farm: Farm, bounds: Bounds | None) -> Snapshot:
    found = farm.ledger.jobs.overview(bounds and bounds.owner)
    nodes = farm.nodes(bounds)
    live = [job for job in found.jobs if job.status in ("waiting", "running")]
    rates = [job.images_per_minute for job in live if job.status == "running"]
    return Snapshot(
        found=found,
        images_per_minute=sum(rates) if rates else None,
        waiting=sum(job.counts.get("waiting", 0) for job in live),
        running=sum(job.counts.get("running", 0) + job.counts.get("delivered", 0) for job in live),
        in_service=sum(map(in_service, nodes)),
        nodes=len(nodes),
        fleet=_fleet(nodes),
        incidents=tuple(_incidents(farm, found.jobs, nodes))[:_INCIDENTS],
        currency=farm.settings.money.currency,
    )


def _fleet(nodes: list[NodeView]) -> dict[int, Counter[str]]:
    found: dict[int, Counter[str]] = {}
    for node in sorted(nodes, key=lambda node: node.vram_class):
        found.setdefault(node.vram_class, Counter())[node.state] += 1
    return found


def _waits(farm: Farm, bounds: Bounds | None) -> Iterator[JobWait]:
    """The first jobs of which nothing runs, as `farm explain` explains them."""
    jobs = farm.ledger.jobs.overview(bounds and bounds.owner).jobs
    for job in [job for job in jobs if job.status == "waiting"][:_EXPLAINED]:
        try:
            told = farm.ledger.explain(job.id, version="", owner=bounds and bounds.owner)
        except FarmError:  # it has just been removed
            continue
        # The first sentence tells its state, which the list of jobs shows.
        yield JobWait(job, told.sentences[1 : 1 + _SENTENCES], told.remedy)


def _incidents(farm: Farm, jobs: list[JobProgress], nodes: list[NodeView]) -> Iterator[str]:
    try:
        farm.publisher.depths([INGEST_QUEUE])
    except Unavailable as error:
        yield f"no new work starts while the broker is unavailable: {error}"
    if farm.ledger.incident_since() is not None:
        yield (
            "the coordinator started or stalled a moment ago, its clock jumped, or the store was away: "
            "no node is blamed for failures for the time being"
        )
    for job in jobs:
        if job.intent == "paused" and job.reason:
            yield f"job {job.id} ({job.name}) paused itself: {job.reason}"
        if missing := job.counts.get("unschedulable"):
            yield f"job {job.id} ({job.name}): {counted(missing, 'shot')} fit no node of this farm"
    yield from idle_sentences(nodes)
    yield from slow_sentences(nodes)

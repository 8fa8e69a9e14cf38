"""Encoding ahead: whether a node encodes texts beside its batch, so that nodes without an encoder get work.

Pure. Only while a node in service could take shots that wait if their texts were embedded. The node encodes
texts of the work that it renders, for a share of what its batch takes, so that it is hardly delayed; the job
of the batch pays, whose texts they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from heapq import heappop, heappush
from math import ceil, inf
from typing import NamedTuple

from common.embeddings import Embedded
from common.nodes import VRAM_CLASSES
from common.settings import Money
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.changes import ShotsTaken, ShotsWaiting
from coordinator.scheduling.offers import cost_of
from coordinator.scheduling.placing import Placement
from coordinator.scheduling.work import Amounts, Line

#: Share of the seconds of a batch that encoding ahead may take.
_SHARE = 1 / 10
#: Texts that a node encodes ahead beside one batch, at most.
MOST_TEXTS = 128
#: There are no budgets in simulations.
_RATES = Money()


class Errand(NamedTuple):
    """Texts of shots that wait, which the node of a batch encodes as well."""

    #: What the shots are taken from.
    lines: tuple[Line, ...]
    #: For the node, at most; a text that was begun is finished.
    seconds: float


def errand(
    backlog: Backlog, node_id: str, batch_id: str, embedded: Embedded, rates: Money, batch_s: float
) -> Errand | None:
    """What a node, which would store texts as `embedded`, encodes beside its batch; None for nothing.

    Grows with the kinds of nodes that could take such shots.
    """
    node, batch = backlog.node(node_id), backlog.running.get(node_id)
    job = backlog.jobs.get(batch.job_id) if batch else None
    if node is None or batch is None or job is None or batch.id != batch_id or batch.duplicates:
        return None
    seconds = _SHARE * (batch_s if batch.image_s is None else min(batch_s, batch.left * batch.image_s))
    if cost_of(node, seconds, rates) > job.room:
        return None
    of_class = (Line(batch.job_id, batch.work_key, some) for some in VRAM_CLASSES)
    lines = [line for line in of_class if line in backlog.lines and _helps(backlog, job.lane, line, embedded)]
    return Errand(tuple(lines), seconds) if lines else None


def _helps(backlog: Backlog, lane: str, line: Line, embedded: Embedded) -> bool:
    """Whether a node in service could take shots of a line if they were embedded so."""
    for node, answer in backlog.unencoded(lane, line):
        missing = node.missing_recipes.get(backlog.works[line.work_key].model, ())
        dtypes = (dtypes for recipe, dtypes in answer.recipes.items() if recipe not in missing)
        if node.versions == embedded.versions and embedded.dtypes in dtypes:
            return True
    return False


class _Encoding(NamedTuple):
    """Images whose texts a node encodes, and when it has stored them."""

    at: float
    number: int
    images: Amounts
    embedded: Embedded


class SimulatedErrands:
    """What nodes encode ahead on a simulated clock: each image has a text of its own."""

    def __init__(self) -> None:
        self._running: list[_Encoding] = []
        self._encoded: Counter[Line] = Counter()
        self._numbers = 0

    @property
    def due_at(self) -> float:
        """When the next texts are stored."""
        return self._running[0].at if self._running else inf

    def begin(self, backlog: Backlog, node_id: str, batch_s: float) -> float:
        """Let a node that begins a batch encode what it would on a farm; returns the seconds for it."""
        node, batch = backlog.known(node_id), backlog.running[node_id]
        work, placement = backlog.works[batch.work_key], backlog.placement(batch.work_key, node.card)
        encoder = placement.encoder if isinstance(placement, Placement) else None
        if encoder is None or work.embedded is not None or node.terms == "volunteer":
            return 0.0
        embedded = Embedded(encoder.dtypes, node.versions)
        found = errand(backlog, node_id, batch.id, embedded, _RATES, batch_s)
        if found is None:
            return 0.0
        texts = min(MOST_TEXTS, ceil(found.seconds / encoder.text_s) if encoder.text_s else MOST_TEXTS)
        images, left = Amounts(), texts
        for line in found.lines:
            if some := min(left, backlog.lines[line] - self._encoded[line]):
                images[line], left = some, left - some
        if not images:
            return 0.0
        seconds = (texts - left) * encoder.text_s
        self._encoded.update(images)
        self._numbers += 1
        heappush(self._running, _Encoding(batch.since + seconds, self._numbers, images, embedded))
        return seconds

    def stored(self, backlog: Backlog, now: float) -> Iterator[ShotsTaken | ShotsWaiting]:
        """The changes to what waits by the texts that are stored by now, one after the other."""
        while self._running and self._running[0].at <= now:
            encoding = heappop(self._running)
            self._encoded.subtract(encoding.images)
            for line, images in encoding.images.items():
                if some := min(images, backlog.lines.get(line, 0)):
                    key = encoding.embedded.mark(line.work_key)
                    work = backlog.works[line.work_key]._replace(embedded=encoding.embedded)
                    yield ShotsTaken({line: some})
                    yield ShotsWaiting({line._replace(work_key=key): some}, {key: work})

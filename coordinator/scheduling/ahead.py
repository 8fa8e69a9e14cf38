"""Encoding ahead: whether a node encodes texts beside its batch, so that nodes without an encoder get work.

Pure. Only while a node in service could take shots that wait if their texts were embedded. The node encodes
texts of the work that it renders, for a share of what its batch takes, so that it is hardly delayed; the job
of the batch pays, whose texts they are.
"""

from __future__ import annotations

from typing import NamedTuple

from common.embeddings import Embedded
from common.nodes import VRAM_CLASSES
from common.settings import Money
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.offers import cost_of
from coordinator.scheduling.work import Line

#: Share of the seconds of a batch that encoding ahead may take.
_SHARE = 1 / 10


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

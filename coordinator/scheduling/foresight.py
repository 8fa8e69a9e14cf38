"""Foresight: a round of looking ahead over the whole backlog, for the farm and for the simulation of one.

Pure, but for the patience of each lane and job, which lasts from round to round.
"""

from __future__ import annotations

from typing import NamedTuple

from coordinator.scheduling.horizon import Horizon, Patience, look_ahead
from coordinator.scheduling.planner import AFFINITY_BATCHES
from coordinator.scheduling.running import Copy, take_turns, trims
from coordinator.scheduling.survey import Survey


class Foreseen(NamedTuple):
    #: By lane.
    horizons: dict[str, Horizon]
    #: Free nodes that could finish an image in time.
    useful: frozenset[str]
    #: Batch to the images that are taken back from it.
    trims: dict[str, int]
    #: Free node to what it should render although another one does.
    copies: dict[str, Copy]


class Foresight:
    def __init__(self, *, batch_s: float, patience_s: float) -> None:
        """`batch_s` is the usual length of a batch; after `patience_s` without a taker, work is for all."""
        self._batch_s = batch_s
        self._patience_s = patience_s
        self._patience: dict[str, Patience] = {}
        #: Job to when a free node was first seen to wait for its texts, since its last batch.
        self._without_texts: dict[str, float] = {}

    def look(self, found: Survey) -> Foreseen:
        """One round. Grows with jobs and models × nodes, and with running batches."""
        horizons: dict[str, Horizon] = {}
        due = self._due(found)
        less: dict[str, int] = {}
        for lane, works in found.works.items():
            turns = take_turns(found.now, works, found.running, found.goes_before, self._batch_s)
            horizon = look_ahead(found.now, works, known=turns.ends)
            patience = self._patience.setdefault(lane, Patience(self._patience_s))
            if tired := patience.exhausted(found.now, works, horizon):
                horizon = look_ahead(found.now, works, tired, known=turns.ends)
            horizon.due = due & {work.job_id for work in works}
            horizons[lane] = horizon
            less |= turns.trims
        useful = frozenset().union(*(one.useful for one in horizons.values()))
        idle = found.idle - useful
        taken = trims(found.now, found.tails, idle, self._batch_s)
        # Idle nodes take first what nobody has begun.
        copies = {} if taken else found.duplicates(idle, self._batch_s)
        return Foreseen(horizons, useful, less | taken, copies)

    def _due(self, found: Survey) -> frozenset[str]:
        """Jobs without a batch for whose texts some node, now busy or not, has waited long enough."""
        rendered = {batch.job_id for batch in found.running.values()}
        waiting = {work.job_id for works in found.works.values() for work in works} - rendered
        before, self._without_texts = self._without_texts, {}
        for job_id in waiting & (before.keys() | found.without_texts):
            # A clock that was set back begins anew.
            self._without_texts[job_id] = min(before.get(job_id, found.now), found.now)
        least_s = self._batch_s * AFFINITY_BATCHES
        return frozenset(one for one, since in self._without_texts.items() if found.now - since >= least_s)

"""Foresight: a round of looking ahead over the whole backlog, for the farm and for the simulation of one.

Pure, but for the patience of each lane, which lasts from round to round.
"""

from __future__ import annotations

from typing import NamedTuple

from coordinator.scheduling.horizon import Horizon, Patience, look_ahead
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

    def look(self, found: Survey) -> Foreseen:
        """One round. Grows with jobs and models × nodes, and with running batches."""
        horizons: dict[str, Horizon] = {}
        less: dict[str, int] = {}
        for lane, works in found.works.items():
            turns = take_turns(found.now, works, found.running, found.goes_before, self._batch_s)
            horizon = look_ahead(found.now, works, known=turns.ends)
            patience = self._patience.setdefault(lane, Patience(self._patience_s))
            if tired := patience.exhausted(found.now, works, horizon):
                horizon = look_ahead(found.now, works, tired, known=turns.ends)
            horizons[lane] = horizon
            less |= turns.trims
        useful = frozenset().union(*(one.useful for one in horizons.values()))
        idle = found.idle - useful
        taken = trims(found.now, found.tails, idle, self._batch_s)
        # Idle nodes take first what nobody has begun.
        copies = {} if taken else found.duplicates(idle, self._batch_s)
        return Foreseen(horizons, useful, less | taken, copies)

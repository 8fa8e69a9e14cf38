"""Work: what decides the memory and the time that a shot takes, and nothing else of it.

All that goes by likeness of work goes by its key: what a batch is composed of, how large its passes are,
which speeds were measured, what a budget reserves.
"""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

from common.catalog import Model
from common.catalog.samplers import forwards_of
from common.fit import forwards_at_once
from common.shot import LoraUse, Shot


class Work(NamedTuple):
    """Alike for shots that take the same memory and the same time on the same card."""

    model: str
    loras: tuple[LoraUse, ...]
    #: Pixels.
    width: int
    height: int
    steps: int
    sampler: str
    #: Runs of the denoiser that share the card: guidance doubles them.
    forwards: int

    @property
    def key(self) -> str:
        """Stable name: 16 hex digits."""
        return hashlib.sha256(json.dumps(self).encode()).hexdigest()[:16]

    @property
    def amount(self) -> float:
        """Megapixel-forwards of one image, at once or one after the other: what speeds are measured in."""
        return self.width * self.height / 1e6 * self.steps * self.forwards * forwards_of(self.sampler)


def work_of(shot: Shot, model: Model) -> Work:
    """The work of `shot` on `model`."""
    return Work(
        model=shot.model,
        loras=shot.loras,
        width=shot.width,
        height=shot.height,
        steps=shot.steps,
        sampler=shot.sampler,
        forwards=forwards_at_once(shot, model),
    )

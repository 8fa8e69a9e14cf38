"""Work: the properties of a shot that determine its memory and time.

The work key is used to compose batches, to choose pass sizes, to group speed measurements and to reserve
budgets.
"""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

from common.catalog import Model
from common.catalog.samplers import forwards_of
from common.fit import forwards_at_once, upscaling_runs
from common.shot import LoraUse, Shot


class Work(NamedTuple):
    """Equal for shots that need the same memory and time on the same card."""

    model: str
    loras: tuple[LoraUse, ...]
    #: In pixels.
    width: int
    height: int
    steps: int
    sampler: str
    #: Simultaneous denoiser runs; doubled by guidance.
    forwards: int
    #: Identity of the upscaler; empty if there is none.
    upscaler: str = ""
    #: Denoiser runs that upscaling takes as long as.
    upscaling: float = 0.0

    @property
    def key(self) -> str:
        """A stable key of 16 hex digits."""
        # As before LoRAs had a second weight, and images an upscaler.
        loras = [[use.name, use.identity, *use.weights] for use in self.loras]
        same = [self.width, self.height, self.steps, self.sampler, self.forwards]
        parts = [self.model, loras, *same, *([self.upscaler] if self.upscaler else [])]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    @property
    def amount(self) -> float:
        """Megapixels times denoiser runs, simultaneous and consecutive, of one image: the unit of speeds."""
        runs = self.steps * self.forwards * forwards_of(self.sampler) + self.upscaling
        return self.width * self.height / 1e6 * runs


def work_of(shot: Shot, model: Model) -> Work:
    """Returns the work of `shot` on `model`."""
    same = shot.model, shot.loras, shot.width, shot.height, shot.steps, shot.sampler
    upscaler = shot.upscaler.identity if shot.upscaler else ""
    return Work(*same, forwards_at_once(shot, model), upscaler, upscaling_runs(shot, model))

"""Whether a node compiles the denoiser for a pass: where the images that remain repay the warm-up.

It goes by what it measured: the seconds of a denoiser run without compiling, those of the warm-up, and what
compiled passes save. Until it has measured the last two, it goes by `ASSUMED`.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict, deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter

from common.catalog.samplers import forwards_of
from common.nodes import Card
from common.shot import Shot
from common.units import counted, format_seconds
from gpu_node import protocol
from gpu_node.measured import keep, kept, setup

log = logging.getLogger(__name__)

_FILE = "compiled.json"
#: Compute capability from which torch's compiler has a back end (Triton).
_MIN_CAPABILITY = (7, 0)
#: Warm-ups that the rest must repay: estimates are not precise, and other nodes may take part of it.
_DOUBT = 1.5
#: Share of an image's time below which compiling is not worth it.
_LEAST_SAVING = 0.02
#: The last passes whose median counts: something else may have slowed one of them down.
_PASSES = 5
#: Share of an image's time that is saved, until so many compiled passes are measured.
_ASSUMED_SAVING = 0.15


class WarmUp(BaseModel):
    """What compiling costs and brings."""

    model_config = ConfigDict(frozen=True)

    #: Seconds of the last warm-up; those with a filled cache are shorter.
    seconds: float
    #: Share of an image's time that each of the last compiled passes saved.
    savings: tuple[float, ...] = ()

    @property
    def saving(self) -> float:
        """Share of an image's time that is saved."""
        return median(self.savings) if len(self.savings) >= _PASSES else _ASSUMED_SAVING


#: Until they are measured. The whole denoiser of Z-Image took 157 s (unslothai/unsloth issue 6763), blocks
#: alone took 43 % less (sgl-project/sglang pull request 32696); compiled fp8 products made images 18 %
#: shorter on an RTX 4090 (Civitai article 2172944).
ASSUMED = WarmUp(seconds=90.0)

_WARM_UPS: TypeAdapter[dict[str, WarmUp]] = TypeAdapter(dict[str, WarmUp])


class PassKind(NamedTuple):
    """Passes for which the same is compiled."""

    images: int
    width: int
    height: int
    #: Whether there is a negative side.
    guided: bool


def kind_of(load: protocol.Load, shots: Sequence[Shot]) -> PassKind:
    first = shots[0]
    guided = load.guided_above is not None and first.guidance > load.guided_above
    return PassKind(len(shots), first.width, first.height, guided)


class Compiling:
    """Decides for one engine. Measurements are kept in the folder `home`; without `wanted`, never."""

    def __init__(self, home: Path, card: Card, driver: str, *, wanted: bool) -> None:
        has_backend = card.backend == "cpu" or (card.compute_capability or (0, 0)) >= _MIN_CAPABILITY
        self._wanted = wanted and has_backend
        self._setup = setup(card, driver)
        self._file = home / _FILE
        self._known = kept(self._file, _WARM_UPS)
        #: What the engine process has loaded, and for which passes it has compiled that.
        self._engine: tuple[int | None, protocol.Load] | None = None
        self._warm: set[PassKind] = set()
        #: Passes to the seconds of a denoiser run of an image without compiling, in each of the last ones.
        self._plain: defaultdict[str, deque[float]] = defaultdict(partial(deque, maxlen=_PASSES))

    def repays(self, pid: int | None, load: protocol.Load, shots: Sequence[Shot], left: int) -> bool:
        """Whether to compile for a pass of these shots, with `left` images to come, these included.

        `pid` is the process of the engine, which holds what it has compiled.
        """
        kind = kind_of(load, shots)
        key = self._key(load, kind)
        warm_up = self._known.get(key, ASSUMED)
        if not self._wanted or load.quantisation != "none" or not self._plain[key]:
            return False
        if warm_up.saving < _LEAST_SAVING:
            return False
        if self._engine == (pid, load) and kind in self._warm:
            return True
        plain_s = median(self._plain[key]) * _runs(shots[0])
        repays = left * plain_s * warm_up.saving > _DOUBT * warm_up.seconds
        if repays:
            images, seconds = counted(left, "image"), format_seconds(warm_up.seconds)
            log.info("compiling %s by %s: %s remain, for about %s", load.model, load.recipe, images, seconds)
        return repays

    def rendered(
        self, pid: int | None, load: protocol.Load, shots: Sequence[Shot], done: protocol.Done
    ) -> None:
        """Learn from a pass."""
        kind = kind_of(load, shots)
        key, run_s = self._key(load, kind), done.denoise_s / len(shots) / _runs(shots[0])
        if done.compile_problem:
            log.warning("%s is rendered without compiling: %s", load.model, done.compile_problem)
            self._wanted = False
        elif not done.compiled:
            self._plain[key].append(run_s)
        else:
            if self._engine != (pid, load):
                self._engine, self._warm = (pid, load), set()
            self._learn(key, run_s, done.compile_s, is_first=kind not in self._warm)
            self._warm.add(kind)

    def _learn(self, key: str, run_s: float, compile_s: float, *, is_first: bool) -> None:
        known, plain_s = self._known.get(key, ASSUMED), median(self._plain[key])
        if is_first:
            found = known.model_copy(update={"seconds": compile_s})
        elif not compile_s and plain_s:
            savings = *known.savings, 1 - run_s / plain_s
            found = known.model_copy(update={"savings": savings[-_PASSES:]})
        else:
            return
        self._known[key] = found
        keep(self._file, _WARM_UPS, self._known)

    def _key(self, load: protocol.Load, kind: PassKind) -> str:
        """All that decides the times."""
        recipe = [load.recipe, load.compute_dtype, load.weights, load.placement]
        return json.dumps([*self._setup, load.model, load.identity, *recipe, len(load.loras), *kind])


def _runs(shot: Shot) -> int:
    """Denoiser runs of an image, one after the other; guidance is part of the kind of a pass."""
    return shot.steps * forwards_of(shot.sampler)

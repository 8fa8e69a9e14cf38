"""Images a second of the farm and of hand-written loops: same model, shots, pass size, encoding and core."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from common.catalog import Catalog, load_catalog
from common.model_files import SHIPPED
from common.shot import Shot
from tests.benchmarks.figures import Figure
from tests.benchmarks.manifests import MODEL, PROMPTS, drawings, expanded
from tests.benchmarks.pinned_farm import FarmRun, PinnedFarm, pinned_farm
from tests.benchmarks.rivals import ResidentLoop, process_per_image_s, resident_loop

RUNS = 5
#: What a run of either side should take.
RUN_S = 12.0
SINGLE_IMAGES = 3
#: No run may have a seed of another: the farm would have the image already.
_SEEDS_APART = 10_000


@dataclass(frozen=True)
class Round:
    """The same shots on both sides."""

    farm: FarmRun
    loop_s: float

    @property
    def ratio(self) -> float:
        return self.loop_s / self.farm.seconds


def measure() -> Iterator[Figure]:
    catalog = load_catalog()
    model = SHIPPED / catalog.models[MODEL].path
    with (
        tempfile.TemporaryDirectory() as home,
        pinned_farm(Path(home)) as farm,
        resident_loop(model) as loop,
    ):
        rounds = _rounds(farm, loop, catalog)
    one = expanded(drawings(0, 1), catalog)[0].shot
    single_s = median(process_per_image_s(model, one) for _ in range(SINGLE_IMAGES))
    farm_rate = median(one.farm.images / one.farm.seconds for one in rounds)
    yield Figure(name="farm, images", value=farm_rate, unit="1/s")
    yield Figure(
        name="loop, images", value=median(one.farm.images / one.loop_s for one in rounds), unit="1/s"
    )
    yield Figure(name="process per image, images", value=1 / single_s, unit="1/s")
    yield from _where_time_went([one.farm for one in rounds])
    yield Figure(name="farm / loop", value=median(one.ratio for one in rounds), at_least=0.9)
    yield Figure(name="farm / process per image", value=farm_rate * single_s, at_least=5)


def _rounds(farm: PinnedFarm, loop: ResidentLoop, catalog: Catalog) -> list[Round]:
    """Runs in turns, after both sides are warm; the number of images makes a run last `RUN_S`."""
    few = drawings(0, 1)
    pass_size = farm.run(few).pass_size
    farm.pin_engine()
    loop.seconds(_shots(few, catalog), pass_size)
    image_s = loop.seconds(_shots(few, catalog), pass_size) / PROMPTS
    seeds = math.ceil(RUN_S / image_s / PROMPTS)
    rounds = []
    for number in range(1, RUNS + 1):
        text = drawings(number * _SEEDS_APART, seeds)
        loop_s = loop.seconds(_shots(text, catalog), pass_size)
        rounds.append(Round(farm.run(text), loop_s))
    return rounds


def _shots(text: str, catalog: Catalog) -> list[Shot]:
    return [planned.shot for planned in expanded(text, catalog)]


def _where_time_went(runs: list[FarmRun]) -> Iterator[Figure]:
    yield Figure(name="farm: batches of a run", value=median(run.batches for run in runs), unit="batches")
    for name, part in (
        ("before the first batch", lambda run: run.start_s),
        ("between batches", lambda run: run.between_s),
        ("after the last batch", lambda run: run.tail_s),
        ("engine at work", lambda run: run.engine_s),
        ("all", lambda run: run.seconds),
    ):
        yield Figure(name=f"farm: {name}", value=median(map(part, runs)), unit="s")

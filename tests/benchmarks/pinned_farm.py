"""A farm of one node whose engine has the render core to itself, and where its seconds go."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from common.views import Submit
from coordinator.client import FarmClient
from tests.benchmarks.cores import RENDER_CORE, off_the_render_core, pin
from tests.benchmarks.farm_of_one import NODE, farm_of_one
from tests.e2e.farmhouse import Farmhouse
from tests.waiting import until

#: Seconds; a run takes a quarter of a minute.
_WITHIN_S = 600


@dataclass(frozen=True, kw_only=True)
class FarmRun:
    """One job, and where its seconds went."""

    #: From submission until the last image is stored.
    seconds: float
    images: int
    #: Until the node held its first batch.
    start_s: float
    #: Between the end of a batch and the begin of the next.
    between_s: float
    #: From the end of the last batch to that of the job.
    tail_s: float
    #: In which the engine encoded texts, denoised and decoded.
    engine_s: float
    batches: int
    #: Images of a pass at the most.
    pass_size: int


@dataclass(frozen=True)
class PinnedFarm:
    house: Farmhouse
    client: FarmClient

    def run(self, manifest: str) -> FarmRun:
        """Submit a manifest whose shots the farm does not have yet, and wait for the last image."""
        began_at, begin = time.time(), time.perf_counter()
        job = self.client.submit(Submit(manifest=manifest))
        assert job.new == job.images, f"{job.reused} of {job.images} shots are rendered already"
        ended = until(
            lambda: self.client.job(job.id),
            lambda view: view.status not in ("waiting", "running"),
            within_s=_WITHIN_S,
        )
        assert ended.status == "done", ended
        seconds = time.perf_counter() - begin
        batches, engine_s = self._batches(job.id)
        return FarmRun(
            seconds=seconds,
            images=job.images,
            start_s=batches[0][0] - began_at,
            between_s=sum(later[0] - earlier[1] for earlier, later in pairwise(batches)),
            tail_s=began_at + seconds - batches[-1][1],
            engine_s=engine_s,
            batches=len(batches),
            pass_size=batches[0][2],
        )

    def pin_engine(self) -> None:
        """To be called once it has rendered: all its threads are there then."""
        node = psutil.Process(self.house.parts()[NODE]["pid"])
        (engine,) = [child for child in node.children() if "gpu_node.engine" in child.cmdline()]
        pin(engine.pid, RENDER_CORE)

    def _batches(self, job: str) -> tuple[list[tuple[float, float, int]], float]:
        """(leased, closed, pass size) of each batch in order; seconds of the engine."""
        with closing(sqlite3.connect(self.house.folder / ".farm" / "ledger.sqlite")) as ledger:
            batches = ledger.execute(
                "SELECT leased_at, closed_at, pass_size FROM batches WHERE job_id = ? ORDER BY leased_at",
                (job,),
            ).fetchall()
            (engine_s,) = ledger.execute(
                "SELECT sum(encode_s + denoise_s + decode_s) FROM attempts WHERE job_id = ?", (job,)
            ).fetchone()
        return batches, engine_s


@contextmanager
def pinned_farm(folder: Path) -> Iterator[PinnedFarm]:
    with off_the_render_core(), farm_of_one(folder) as house, house.client() as client:
        yield PinnedFarm(house, client)

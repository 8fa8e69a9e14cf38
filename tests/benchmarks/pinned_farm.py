"""A farm of one node whose engine has the render core to itself, and where its seconds go."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import psutil

from common.views import Submit
from coordinator.client import FarmClient
from tests.benchmarks.cores import RENDER_CORE, off_the_render_core, pin
from tests.benchmarks.farm_of_one import NODE, farm_of_one
from tests.e2e.farmhouse import Farmhouse
from tests.waiting import until

#: Seconds; a run takes a quarter of a minute.
_WITHIN_S = 600


class FarmRun(NamedTuple):
    """One job, and where its seconds went."""

    #: From submission until the last image is stored.
    seconds: float
    images: int
    #: Until the node held its first batch.
    start_s: float
    #: Between the end of a batch and the begin of the next.
    between_s: float
    #: From the end of the last batch to that of the job; 0 where the batch ended after it.
    tail_s: float
    #: In which the engine encoded texts, denoised and decoded.
    engine_s: float
    batches: int
    #: Images of a pass at the most.
    pass_size: int


class _Batch(NamedTuple):
    leased_at: float
    closed_at: float
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
        # The last batch may close a moment after its last picture.
        batches = until(
            lambda: self._batches(job.id), lambda some: all(one.closed_at for one in some), within_s=_WITHIN_S
        )
        return FarmRun(
            seconds=seconds,
            images=job.images,
            start_s=batches[0].leased_at - began_at,
            between_s=sum(later.leased_at - earlier.closed_at for earlier, later in pairwise(batches)),
            tail_s=max(0.0, began_at + seconds - batches[-1].closed_at),
            engine_s=self._engine_s(job.id),
            batches=len(batches),
            pass_size=batches[0].pass_size,
        )

    def pin_engine(self) -> None:
        """To be called once it has rendered: all its threads are there then."""
        node = psutil.Process(self.house.parts()[NODE]["pid"])
        (engine,) = [child for child in node.children() if "gpu_node.engine" in child.cmdline()]
        pin(engine.pid, RENDER_CORE)

    def _batches(self, job: str) -> list[_Batch]:
        query = "SELECT leased_at, closed_at, pass_size FROM batches WHERE job_id = ? ORDER BY leased_at"
        with self._ledger() as ledger:
            return [_Batch(*row) for row in ledger.execute(query, (job,))]

    def _engine_s(self, job: str) -> float:
        query = "SELECT sum(encode_s + denoise_s + decode_s) FROM attempts WHERE job_id = ?"
        with self._ledger() as ledger:
            return float(ledger.execute(query, (job,)).fetchone()[0])

    def _ledger(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self.house.folder / ".farm" / "ledger.sqlite"))


@contextmanager
def pinned_farm(folder: Path) -> Iterator[PinnedFarm]:
    with off_the_render_core(), farm_of_one(folder) as house, house.client() as client:
        yield PinnedFarm(house, client)

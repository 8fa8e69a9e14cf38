"""How soon a node that renders hears an order, and how soon its engine or card is free then."""

from __future__ import annotations

import re
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from common.views import Submit
from coordinator.client import FarmClient
from coordinator.embedded.addresses import local_url
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.credentials import Credentials
from tests.benchmarks.farm_of_one import NODE, farm_of_one
from tests.benchmarks.figures import Figure
from tests.benchmarks.manifests import drawings
from tests.benchmarks.node_log import NodeLog, followed
from tests.waiting import until

ROUNDS = 20
PROMISED_S = 2
#: As many as a manifest may ask for: no pass ends by itself.
_STEPS = 1000
#: Seconds; an engine that was killed is up again in a quarter of a minute.
_WITHIN_S = 120


@dataclass(frozen=True)
class Obeyed:
    """Seconds from the call, not from its answer: a node may hear before the caller does."""

    heard_s: float
    #: Until the engine's process is gone, for a pause; until the batch is closed, for a cancelled job.
    free_s: float


@dataclass(frozen=True)
class SteeredFarm:
    ledger: Path
    operator: FarmClient
    #: Has the node's key, as `farm-node pause` has.
    owner: Coordinator
    log: NodeLog

    def round(self, number: int) -> dict[str, Obeyed]:
        """Three orders in the middle of passes of one job, the last of which ends it."""
        job = self.operator.submit(Submit(manifest=drawings(number, 1, steps=_STEPS))).id
        by_operator = self._pause(job, lambda: self.operator.steer_node(NODE, "pause"))
        self.operator.steer_node(NODE, "resume")
        by_owner = self._pause(job, lambda: self.owner.pause(NODE))
        self.owner.resume(NODE)
        return {"farm node pause": by_operator, "farm-node pause": by_owner, "farm cancel": self._cancel(job)}

    def step_s(self) -> float:
        """What a step of the cancelled passes took: each says after how many of them it was broken off."""
        passes = self._rows(
            "SELECT sum(denoise_s), min(message) FROM attempts"
            " WHERE failure = 'cancelled' AND denoise_s > 0 GROUP BY batch_id"
        )
        return float(median(seconds / int(re.findall(r"\d+", said)[0]) for seconds, said in passes))

    def _pause(self, job: str, pause: Callable[[], object]) -> Obeyed:
        self._until_denoising(job)
        called = time.time()
        pause()
        heard, free = self.log.moments("received order: pause", "the GPU is free", since=called)
        return Obeyed(heard - called, free - called)

    def _cancel(self, job: str) -> Obeyed:
        batch = self._until_denoising(job)
        called = time.time()
        self.operator.steer_job(job, "cancel")
        (heard,) = self.log.moments("images are cancelled", since=called)
        closed = "SELECT closed_at FROM batches WHERE id = ? AND state = 'closed'"
        ((free,),) = until(lambda: self._rows(closed, batch), within_s=_WITHIN_S)
        return Obeyed(heard - called, free - called)

    def _until_denoising(self, job: str) -> str:
        """The batch of which the node has said that its first pass has begun."""
        begun = "SELECT id FROM batches WHERE job_id = ? AND state = 'leased' AND spent_s LIKE '%denoise%'"
        ((batch,),) = until(lambda: self._rows(begun, job), within_s=_WITHIN_S)
        return str(batch)

    def _rows(self, query: str, *values: str) -> list[Any]:
        with closing(sqlite3.connect(self.ledger)) as ledger:
            return ledger.execute(query, values).fetchall()


@contextmanager
def steered_farm(folder: Path) -> Iterator[SteeredFarm]:
    with farm_of_one(folder) as house:
        home, in_force = folder / ".farm", house.settings()
        url = local_url(in_force)
        credentials = Credentials(home / "nodes" / NODE, url)
        with (
            house.client() as operator,
            closing(Coordinator(url, credentials=credentials)) as owner,
            followed(home / "logs" / f"{NODE}.log") as log,
        ):
            yield SteeredFarm(home / "ledger.sqlite", operator, owner, log)


def measure() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder, steered_farm(Path(folder)) as farm:
        rounds = [farm.round(number) for number in range(ROUNDS)]
        step_s = farm.step_s()
    for order in rounds[0]:
        heard = [one[order].heard_s for one in rounds]
        yield from _spread(f"{order}: heard", heard, at_most=PROMISED_S)
    for order in rounds[0]:
        free = [one[order].free_s for one in rounds]
        # A cancelled pass ends at its next step, however long that takes.
        yield from _spread(f"{order}: free", free, at_most=PROMISED_S if "pause" in order else None)
    yield Figure(name="a step", value=step_s, unit="s")


def _spread(name: str, seconds: list[float], *, at_most: float | None) -> Iterator[Figure]:
    yield Figure(name=f"{name}, median", value=median(seconds), unit="s")
    yield Figure(name=f"{name}, 90th percentile", value=quantiles(seconds, n=10)[-1], unit="s")
    yield Figure(name=f"{name}, worst of {len(seconds)}", value=max(seconds), unit="s", at_most=at_most)

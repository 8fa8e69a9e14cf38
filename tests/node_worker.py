"""A node without its tickets: it works on the leases that a test gives it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.messages import Lease, LeasedShot
from common.shot import Shot
from gpu_node.agent.batch import Batch, NodeContext
from gpu_node.agent.heartbeat import HeartbeatThread
from gpu_node.agent.orders import Listener, Steering
from gpu_node.agent.owner_watch import OwnerWatch
from gpu_node.agent.progress import ActiveBatch, Progress
from gpu_node.policy import PauseReason
from gpu_node.status import StatusFile
from tests.scripted_farm import ScriptedFarm

WATTS = 100.0


@dataclass
class Worker:
    """A node without its tickets."""

    farm: ScriptedFarm
    context: NodeContext
    progress: Progress

    def work(self, lease: Lease) -> None:
        self.work_on(self.progress.take(lease))

    def work_on(self, active: ActiveBatch) -> None:
        joined = self.farm.joined()
        steering = Steering(self.progress, self.context.engine, lambda why: None)
        told = (self.context.coordinator, joined, self.progress, steering)
        with HeartbeatThread(*told, self.context.offers), Listener(*told):
            Batch(self.context, joined, active).run()
            self.progress.leave()


def watch_of(worker: Worker, home: Path, look: Callable[[], PauseReason | None] = lambda: None) -> OwnerWatch:
    """The part of an owner in a node, who wants the card as `look` says."""
    context = worker.context
    told = (context.engine, worker.progress, context.coordinator, StatusFile(home))
    return OwnerWatch(look, *told, node="n1", farm=worker.farm.url)


def lease(*shots: Shot, pass_size: int = 2, model: str = "tiny") -> Lease:
    ordered = tuple(LeasedShot(id=one.id, attempt_id=f"a-{one.seed}", spec=one.to_dict()) for one in shots)
    return Lease(
        batch_id="b-1",
        token="t-1",
        model=model,
        recipe="fp32",
        pass_size=pass_size,
        shots=ordered,
    )


def in_background(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread

"""A node without its tickets: it works on the leases that a test gives it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from common.messages import Lease, LeasedShot
from common.shot import Shot
from gpu_node.agent.batch import Batch, NodeContext
from gpu_node.agent.heartbeat import HeartbeatThread
from gpu_node.agent.orders import Listener, Steering
from gpu_node.agent.progress import ActiveBatch, Progress
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

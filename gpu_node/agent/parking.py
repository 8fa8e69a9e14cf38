"""Work without tickets: one call, held by the farm, brings leases and orders and stands for heartbeats."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from common.messages import ClaimAnswer, HeartbeatAnswer, Joined, Lease, Park, ParkAnswer
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.offers import Offers
from gpu_node.agent.orders import OVER, Steering, log_orders
from gpu_node.agent.progress import Progress
from gpu_node.agent.retry import held_until

#: Seconds between an answer and the next call: a server that answers at once is not flooded.
_BREATH_S = 0.1
_GO_ON = HeartbeatAnswer(order="go on")


@dataclass(eq=False, slots=True)
class Parking:
    """Gets leases for one incarnation of a node, which has no open connection but this call meanwhile."""

    coordinator: Coordinator
    joined: Joined
    progress: Progress
    steering: Steering
    offers: Offers
    #: Hears of answers without a lease.
    on_idle: Callable[[ClaimAnswer], None]
    _over: threading.Event = field(init=False, default_factory=threading.Event)

    def run(self, work: Callable[[Lease], None]) -> None:
        """Return after `stop`, once the current lease is done with; a farm that is away is waited for."""
        turn, known = _new_turn(), _GO_ON
        while not self._over.is_set():
            try:
                answer = held_until(self._over, self._calling(known, turn))
            except OVER as error:
                self.steering.end(str(error))
                return
            if answer is None:
                return
            self.offers.hear(answer.order.catalog_version)
            if answer.lease is not None:
                work(answer.lease)
                # A pause that came meanwhile is told again.
                turn, known = _new_turn(), _GO_ON
                continue
            order = answer.order.model_copy(update={"catalog_version": ""})
            log_orders(order, known)
            self.steering.obey(None, order)
            self.on_idle(answer)
            known = order
            self._over.wait(_BREATH_S)

    def stop(self) -> None:
        """Take no more work. From any thread, and from a signal handler."""
        self._over.set()

    def _calling(self, known: HeartbeatAnswer, turn: str) -> Callable[[], ParkAnswer]:
        def call() -> ParkAnswer:
            beat = self.progress.heartbeat(self.joined.incarnation)
            return self.coordinator.park(self.joined.node_id, Park(beat=beat, known=known, turn=turn))

        return call


def _new_turn() -> str:
    return secrets.token_hex(16)

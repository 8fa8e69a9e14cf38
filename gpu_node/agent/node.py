"""A node's life: join, take tickets, join again when the coordinator has forgotten it, stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from common.errors import FarmError, Gone, NotFound
from common.messages import CardFacts, Claim, ClaimAnswer, Join, Joined, Lease
from gpu_node.agent.batch import Batch, NodeContext
from gpu_node.agent.heartbeat import HeartbeatThread
from gpu_node.agent.intake import Intake
from gpu_node.agent.orders import Listener, Steering
from gpu_node.agent.owner_watch import OwnerWatch
from gpu_node.agent.parking import Parking
from gpu_node.agent.progress import Progress
from gpu_node.agent.retry import held_until, retry_until
from gpu_node.agent.trials import Trials

log = logging.getLogger(__name__)

#: Seconds before a node whose broker refused it joins again, under a new incarnation.
_REST_S = 2.0
#: Seconds between looks at the other nodes of the machine, and at what the owner wants.
_SHARE_S = 5.0
#: What the engine does for a batch before there is anything worth finishing.
_BEFORE_PASSES = ("load", "encode")


@dataclass(eq=False, slots=True)
class Node:
    context: NodeContext
    #: The last one that was sent, or is to be sent.
    join: Join
    progress: Progress
    trials: Trials
    watch: OwnerWatch
    #: Whether its owner wants SFW only by now.
    sfw_only: Callable[[], bool]
    #: Seconds that a running pass may take after `stop`.
    last_pass_s: float
    #: What gets it work now.
    _intake: Intake | Parking | None = None
    #: Nodes on this machine when it joined.
    _nodes: int = 1
    #: Why the last claim that got nothing did.
    _nothing: str = ""

    @property
    def _stopping(self) -> threading.Event:
        return self.context.stopping

    def run(self) -> None:
        """Return after `stop`. Raises FarmError where the farm refuses this node for good.

        Such as Conflict, where another process has joined under its name since.
        """
        joined: Joined | None = None
        try:
            with self.watch.running():
                while not self._stopping.is_set() and (joined := self._join()) is not None:
                    self.watch.joined()
                    self._serve(joined)
        finally:
            self.context.engine.stop()
            if joined is not None:
                with suppress(FarmError):
                    self.context.coordinator.leave(joined.node_id, joined.incarnation)

    def stop(self) -> None:
        """Finish the running pass, hand the rest back, end. From a signal handler or any thread."""
        self._stopping.set()
        self._take_no_more()
        batch = self.progress.batch
        if batch is not None and batch.phase in _BEFORE_PASSES:
            batch.give_up("the node stops")
        last = threading.Timer(self.last_pass_s, self.give_up)
        last.daemon = True
        last.start()

    def give_up(self) -> None:
        """Hand back also what is running, after `stop`."""
        batch = self.progress.batch
        if batch is not None:
            batch.give_up("the node stops")

    def _join(self) -> Joined | None:
        """None when the node stops before the coordinator answers."""
        offered = self.context.offers.offer().model_dump()
        self._nodes = self.context.share.nodes
        facts = CardFacts(**asdict(self.context.share.card))
        self.join = self.join.model_copy(update={**offered, "card": facts, "sfw_only": self.sfw_only()})
        joined = retry_until(self._stopping, lambda: self.context.coordinator.join(self.join))
        if joined is not None:
            if joined.broker_url:
                self.context.announced.check_broker(joined.broker_url)
            addresses = retry_until(self._stopping, self.context.coordinator.addresses)
            if addresses is None:
                return joined
            self.context.announced.hear(addresses.store, lambda: self.context.coordinator.token)
            self.join = self.join.model_copy(update={"again": True})
            self.progress.joined()
            if joined.note:
                log.warning("%s", joined.note)
            serving = f"serving {', '.join(joined.queues)}" if joined.queues else "without tickets"
            log.info("joined as %s (%s GB), %s", joined.node_id, joined.vram_class, serving)
        return joined

    def _serve(self, joined: Joined) -> None:
        """Work until the node stops or its incarnation is over."""
        self.context.engine.start()

        def over(why: str) -> None:
            log.warning("%s; rejoining", why)
            self._take_no_more()

        steering = Steering(self.progress, self.context.engine, over)
        shared = (self.context.coordinator, joined, self.progress, steering)
        offers = self.context.offers
        # Before anybody listens: whoever hears at once that the incarnation is over stops this intake.
        intake = self._intake = (
            Intake(joined.broker_url, joined.queues, joined.node_id)
            if joined.broker_url
            else Parking(*shared, offers, self._log_idle)
        )
        with (
            HeartbeatThread(*shared, offers),
            Listener(*shared) as listener,
            offers.following(joined),
            self.trials.during(joined),
            self._sharing(),
        ):

            def take(ticket: str) -> None:
                self._take(ticket, joined, steering, listener)

            def work(lease: Lease) -> None:
                self._work(lease, joined, steering, listener)

            if self._stopping.is_set():
                return
            if isinstance(intake, Parking):
                intake.run(work)
            elif not intake.run(take):
                log.warning("cannot take tickets from the broker; rejoining in %.0f s", _REST_S)
                self._stopping.wait(_REST_S)

    def _take_no_more(self) -> None:
        if self._intake is not None:
            self._intake.stop()

    @contextmanager
    def _sharing(self) -> Iterator[None]:
        """Join again once no batch is here and another part of the machine, or other work, is wanted."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(_SHARE_S) and not self._rejoins():
                pass

        threading.Thread(target=watch, name="share", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def _rejoins(self) -> bool:
        """Whether this node joins again now: it said something else when it joined, and no batch runs."""
        if self.progress.batch is not None:
            return False
        if self.sfw_only() != self.join.sfw_only:
            log.info("its owner wants %s; rejoining", "SFW only" if self.sfw_only() else "any work")
        elif self.context.share.nodes != self._nodes:
            log.info("the nodes of this machine are others; rejoining with a new part of its memory")
        else:
            return False
        self._take_no_more()
        return True

    def _take(self, ticket: str, joined: Joined, steering: Steering, listener: Listener) -> None:
        """Claim with the ticket, and work on what comes of it."""
        try:
            lease = self._claim(ticket, joined)
        except (Gone, NotFound) as error:
            steering.end(str(error))
        except FarmError as error:
            log.info("%s", error)
        else:
            if lease is not None:
                self._work(lease, joined, steering, listener)

    def _work(self, lease: Lease, joined: Joined, steering: Steering, listener: Listener) -> None:
        active = self.progress.take(lease)
        steering.leased()
        self.watch.leased(active)
        listener.attend()
        log.info("batch %s: %d × %s by %s", lease.batch_id, len(lease.shots), lease.model, lease.recipe)
        try:
            with self.trials.set_aside(lease):
                Batch(self.context, joined, active).run()
        finally:
            self.watch.ended(active)
            self.progress.leave()
            listener.attend()
            # With much work, no look at the other nodes meets it without a batch.
            self._rejoins()

    def _claim(self, ticket: str, joined: Joined) -> Lease | None:
        """A lease; None when there is no work, or the node stops while it waits for some.

        Where the answer is lost, the same ticket is presented again: a lease may have been granted on it.
        """
        held = self.context.engine.held
        claim = Claim(
            node_id=joined.node_id,
            incarnation=joined.incarnation,
            ticket=ticket,
            loaded_model=held.model if held else None,
            loaded_loras=tuple(lora.name for lora in held.loras) if held else (),
            wait_s=joined.claim_wait_s,
        )
        answer = held_until(self._stopping, lambda: self.context.coordinator.claim(claim))
        if answer is None:
            return None
        self._log_idle(answer)
        return answer.lease

    def _log_idle(self, answer: ClaimAnswer) -> None:
        """Log why there is no work, once until it changes."""
        if answer.nothing is not None and answer.nothing.reason != self._nothing:
            self._nothing = answer.nothing.reason
            log.info("no work: %s", self._nothing)

"""The states of shots, attempts, batches and nodes: four tables with all permitted transitions.

`python -m common.states` prints the page docs/reference/states.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from common.errors import Conflict


class ShotState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DELIVERED = "delivered"
    DONE = "done"
    WITHHELD = "withheld"
    FAILED = "failed"
    UNSCHEDULABLE = "unschedulable"
    CANCELLED = "cancelled"


class ShotEvent(StrEnum):
    CLAIMED = "claimed"
    DELIVERED = "delivered"
    STORED = "stored"
    WITHHELD = "withheld"
    APPROVED = "approved"
    RETURNED = "returned"
    RETRIED = "retried"
    EXHAUSTED = "exhausted"
    ENLARGED = "enlarged"
    OUTGROWN = "outgrown"
    FITS = "fits"
    UNWANTED = "unwanted"
    ERASED = "erased"
    REQUEUED = "requeued"


class AttemptState(StrEnum):
    RUNNING = "running"
    DELIVERED = "delivered"
    STORED = "stored"
    WASTED = "wasted"
    REJECTED = "rejected"
    FAILED = "failed"
    RELEASED = "released"


class AttemptEvent(StrEnum):
    DELIVERED = "delivered"
    STORED = "stored"
    BEATEN = "beaten"
    REJECTED = "rejected"
    FAILED = "failed"
    RELEASED = "released"


class BatchState(StrEnum):
    LEASED = "leased"
    CLOSED = "closed"


class BatchEvent(StrEnum):
    """How a batch ended; stored as its outcome."""

    FINISHED = "finished"
    RELEASED = "released"
    FAILED = "failed"
    OOM = "oom"
    EXPIRED = "expired"
    VANISHED = "vanished"


class NodeState(StrEnum):
    READY = "ready"
    BUSY = "busy"
    DRAINING = "draining"
    OFFLINE = "offline"
    PAUSED = "paused"
    QUARANTINED = "quarantined"
    SELFTEST = "selftest"
    LOST = "lost"
    FORGOTTEN = "forgotten"


#: States of a node that accepts work now, or will after finishing its current work.
IN_SERVICE = (NodeState.READY, NodeState.BUSY)

#: States of a node that does not call, so that what its last heartbeat said holds no more.
GONE = (NodeState.OFFLINE, NodeState.LOST)


class NodeEvent(StrEnum):
    JOINED = "joined"
    LEASED = "leased"
    FREED = "freed"
    DRAINED = "drained"
    PAUSED = "paused"
    RESUMED = "resumed"
    HELD = "held"
    CONFINED = "confined"
    REVOKED = "revoked"
    DISTRUSTED = "distrusted"
    TESTED = "tested"
    TRUSTED = "trusted"
    LEFT = "left"
    SILENT = "silent"
    HEARD = "heard"
    FORGOTTEN = "forgotten"


S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


class Transition(NamedTuple, Generic[S, E]):
    source: S
    event: E
    target: S
    #: When the transition happens, as text for the generated page.
    when: str


@dataclass(frozen=True, slots=True)
class Machine(Generic[S, E]):
    """A state machine defined by a table."""

    noun: str
    #: Possible initial states.
    initial: tuple[S, ...]
    transitions: tuple[Transition[S, E], ...]

    def after(self, state: S, event: E) -> S:
        """Returns the next state. Raises Conflict if the table has no such transition."""
        for transition in self.transitions:
            if transition.source == state and transition.event == event:
                return transition.target
        raise Conflict(f"a {self.noun} that is {state} cannot be {event}; `farm explain` shows its state")

    def sources(self, event: E) -> tuple[S, ...]:
        """Returns the states in which `event` may happen."""
        return tuple(t.source for t in self.transitions if t.event == event)

    def mermaid(self) -> str:
        """Returns the table as a Mermaid state diagram."""
        lines = ["stateDiagram-v2"]
        lines += [f"    [*] --> {state}" for state in self.initial]
        lines += [f"    {t.source} --> {t.target}: {t.event}" for t in self.transitions]
        return "\n".join(lines)


def _shot() -> Iterator[Transition[ShotState, ShotEvent]]:
    s, e = ShotState, ShotEvent
    yield Transition(s.WAITING, e.CLAIMED, s.RUNNING, "a node's batch contains it")
    yield Transition(s.WAITING, e.OUTGROWN, s.UNSCHEDULABLE, "requeued, and it still fits no class")
    yield Transition(s.WAITING, e.UNWANTED, s.CANCELLED, "no live job wants it")
    yield Transition(s.RUNNING, e.DELIVERED, s.DELIVERED, "the upload is reported")
    yield Transition(s.DELIVERED, e.STORED, s.DONE, "ingest stored the image")
    yield Transition(
        s.DELIVERED,
        e.WITHHELD,
        s.WITHHELD,
        "ingest stored the image, which a classifier of its lane withholds",
    )
    yield Transition(s.WITHHELD, e.APPROVED, s.DONE, "the operator approves the image")
    for source in (s.RUNNING, s.DELIVERED):
        yield Transition(source, e.RETURNED, s.WAITING, "the shot is not at fault; no attempt is counted")
        yield Transition(source, e.RETRIED, s.WAITING, "the shot failed and has attempts left")
        yield Transition(source, e.EXHAUSTED, s.FAILED, "the shot failed on its last attempt")
        yield Transition(source, e.ENLARGED, s.WAITING, "out of memory; it waits for a larger class")
        yield Transition(source, e.OUTGROWN, s.UNSCHEDULABLE, "out of memory on the largest class")
    yield Transition(
        s.UNSCHEDULABLE, e.FITS, s.WAITING, "a node joined or a job was submitted that makes it fit"
    )
    yield Transition(s.UNSCHEDULABLE, e.UNWANTED, s.CANCELLED, "no live job wants it")
    for source in (s.DONE, s.WITHHELD):
        yield Transition(
            source, e.ERASED, s.CANCELLED, "a person deleted its image, and no live job wants it"
        )
    for source in (s.FAILED, s.CANCELLED, s.UNSCHEDULABLE):
        yield Transition(source, e.REQUEUED, s.WAITING, "the operator or a new job wants it again")


def _attempt() -> Iterator[Transition[AttemptState, AttemptEvent]]:
    s, e = AttemptState, AttemptEvent
    yield Transition(s.RUNNING, e.DELIVERED, s.DELIVERED, "the upload is reported")
    yield Transition(s.RUNNING, e.FAILED, s.FAILED, "the node reports a failure")
    yield Transition(
        s.RUNNING,
        e.RELEASED,
        s.RELEASED,
        "its batch ended without it, an idle node takes it, or another one delivered it first",
    )
    yield Transition(s.DELIVERED, e.STORED, s.STORED, "ingest stored the image")
    yield Transition(s.DELIVERED, e.BEATEN, s.WASTED, "another attempt's image is stored")
    yield Transition(s.DELIVERED, e.REJECTED, s.REJECTED, "ingest rejects the upload")


def _batch() -> Iterator[Transition[BatchState, BatchEvent]]:
    s, e = BatchState, BatchEvent
    yield Transition(s.LEASED, e.FINISHED, s.CLOSED, "the node has processed the whole batch")
    yield Transition(s.LEASED, e.RELEASED, s.CLOSED, "the node returns it, or claims with a new ticket")
    yield Transition(s.LEASED, e.FAILED, s.CLOSED, "a failure stops the whole batch")
    yield Transition(s.LEASED, e.OOM, s.CLOSED, "the card ran out of memory")
    yield Transition(s.LEASED, e.EXPIRED, s.CLOSED, "the lease expired")
    yield Transition(s.LEASED, e.VANISHED, s.CLOSED, "the node was restarted")


def _node() -> Iterator[Transition[NodeState, NodeEvent]]:
    s, e = NodeState, NodeEvent
    for source in (s.READY, s.OFFLINE, s.LOST, s.FORGOTTEN):
        yield Transition(source, e.JOINED, s.READY, "the node restarts")
    for source in (s.QUARANTINED, s.SELFTEST):
        yield Transition(source, e.JOINED, source, "a restart does not restore trust")
    yield Transition(s.PAUSED, e.JOINED, s.PAUSED, "a restart does not end a pause")
    for source in (s.OFFLINE, s.FORGOTTEN):
        yield Transition(source, e.HELD, s.OFFLINE, "it restarts, and the operator has drained it")
    yield Transition(s.PAUSED, e.HELD, s.OFFLINE, "its owner resumes it, and the operator has drained it")
    yield Transition(
        s.PAUSED, e.CONFINED, s.QUARANTINED, "its owner resumes it before its quarantine is over"
    )
    yield Transition(s.READY, e.LEASED, s.BUSY, "it is given a batch")
    yield Transition(s.SELFTEST, e.LEASED, s.SELFTEST, "it is given one test shot")
    yield Transition(s.BUSY, e.FREED, s.READY, "its batch is closed")
    yield Transition(s.DRAINING, e.FREED, s.OFFLINE, "its last batch is closed")
    yield Transition(s.SELFTEST, e.FREED, s.SELFTEST, "its batch is closed; ingest decides the result")
    yield Transition(s.BUSY, e.DRAINED, s.DRAINING, "the operator drains it; it finishes its batch first")
    yield Transition(s.READY, e.DRAINED, s.OFFLINE, "the operator drains it")
    for source in (s.READY, s.OFFLINE, s.LOST, s.QUARANTINED, s.SELFTEST):
        yield Transition(source, e.PAUSED, s.PAUSED, "its owner or the operator pauses it")
    yield Transition(s.PAUSED, e.PAUSED, s.PAUSED, "whoever paused it gives another reason")
    yield Transition(s.DRAINING, e.RESUMED, s.BUSY, "the operator revokes the drain")
    yield Transition(s.OFFLINE, e.RESUMED, s.READY, "the operator resumes it")
    yield Transition(s.PAUSED, e.RESUMED, s.READY, "the operator or owner who paused it resumes it")
    for source in (s.READY, s.OFFLINE, s.LOST, s.SELFTEST, s.QUARANTINED):
        yield Transition(
            source, e.DISTRUSTED, s.QUARANTINED, "it failed too often, or the operator quarantines it"
        )
    yield Transition(s.PAUSED, e.DISTRUSTED, s.PAUSED, "it must pass a self-test when resumed")
    yield Transition(s.QUARANTINED, e.TESTED, s.SELFTEST, "it has been quarantined for long enough")
    yield Transition(s.PAUSED, e.TESTED, s.SELFTEST, "it is resumed after losing trust")
    for source in (s.QUARANTINED, s.SELFTEST):
        yield Transition(source, e.TRUSTED, s.READY, "its self-test passed, or it is forgiven")
    yield Transition(s.PAUSED, e.TRUSTED, s.PAUSED, "it is forgiven")
    yield Transition(s.READY, e.LEFT, s.OFFLINE, "its owner stopped it")
    for source in (s.READY, s.OFFLINE, s.LOST, s.PAUSED, s.QUARANTINED, s.SELFTEST):
        yield Transition(source, e.REVOKED, s.OFFLINE, "the operator revokes or removes it")
    yield Transition(s.FORGOTTEN, e.REVOKED, s.FORGOTTEN, "the operator revokes or removes it")
    yield Transition(s.READY, e.SILENT, s.LOST, "no heartbeat for the duration of a lease")
    yield Transition(s.SELFTEST, e.SILENT, s.QUARANTINED, "no heartbeat during its self-test")
    yield Transition(s.LOST, e.HEARD, s.READY, "a heartbeat arrives again")
    for source in (s.OFFLINE, s.LOST):
        yield Transition(source, e.FORGOTTEN, s.FORGOTTEN, "the operator says that it does not come back")


SHOT = Machine("shot", (ShotState.WAITING, ShotState.UNSCHEDULABLE), tuple(_shot()))
ATTEMPT = Machine("attempt", (AttemptState.RUNNING,), tuple(_attempt()))
BATCH = Machine("batch", (BatchState.LEASED,), tuple(_batch()))
NODE = Machine("node", (NodeState.READY,), tuple(_node()))


def _section(machine: Machine[S, E]) -> Iterator[str]:
    yield f"## {machine.noun.capitalize()}\n"
    yield f"```mermaid\n{machine.mermaid()}\n```\n"
    yield "| state | event | next | when |\n|---|---|---|---|"
    yield from (f"| {t.source} | {t.event} | {t.target} | {t.when} |" for t in machine.transitions)
    yield ""


def page() -> str:
    """Returns docs/reference/states.md, generated from the tables."""
    lines = [
        "# States\n",
        "Generated from the tables in `common/states.py` by `python -m common.states`.",
        "Only the listed transitions are possible.",
        "The status of a job is derived from the states of its shots and the intent of the operator.\n",
        *_section(SHOT),
        *_section(ATTEMPT),
        *_section(BATCH),
        *_section(NODE),
    ]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(page(), end="")

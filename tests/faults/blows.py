"""The faults: what can be done to a farm's processes, broker and store from outside."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from tests.faults.target import NODES, QUEUES, TIMING, Target, send

_NAMES = tuple(name for name, _ in NODES)
#: A stopped node comes back this long after its stop, its lease long over.
_ZOMBIE_S = 2 * TIMING.lease_s
#: What else is stopped goes on within these.
_AWAY_S = (1.0, 6.0)
_MALFORMED = (b"not json", b"{}", b"\xff\xfe\x00", b'{"body": 1}', b"[]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Blow:
    """What one fault did."""

    what: str
    #: Nodes that died or fell silent by it, or whose engine did.
    felled: tuple[str, ...] = ()
    #: Undoes it `lasts_s` later.
    end: Callable[[], object] | None = None
    lasts_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    #: How often it is drawn, relative to the others.
    weight: int
    #: None where it cannot be done just now.
    strike: Callable[[Target, Random], Blow | None]


def _kill_engine(target: Target, draw: Random) -> Blow | None:
    node = _mortal(target, draw)
    engine = node and target.engine(node)
    if not node or not engine or not send(engine, signal.SIGKILL):
        return None
    return Blow(what=f"kill -9 of the engine of {node}", felled=(node,))


def _kill_node(target: Target, draw: Random) -> Blow | None:
    node = _mortal(target, draw)
    return Blow(what=f"kill -9 of {node}", felled=(node,)) if node and target.kill(node) else None


def _kill(part: str, target: Target, _: Random) -> Blow | None:
    return Blow(what=f"kill -9 of {part}") if target.kill(part) else None


def _kill_tree(target: Target, _: Random) -> Blow | None:
    if not all(map(target.may_kill, _NAMES)):
        return None
    pids = target.tree()
    for pid in pids:
        send(pid, signal.SIGKILL)
    target.house.wait_for(target.house.processes, lambda processes: processes == [])
    target.house.farm("up")
    return Blow(what=f"kill -9 of the supervisor and its {len(pids) - 1} processes, then `farm up`")


def _flush(target: Target, _: Random) -> Blow:
    with target.broker() as broker:
        broker.flushall()
    return Blow(what="FLUSHALL")


def _stop_node(target: Target, draw: Random) -> Blow | None:
    node = _mortal(target, draw)
    return node and _stopped(target, node, _ZOMBIE_S, felled=(node,))


def _stop(part: str, target: Target, draw: Random) -> Blow | None:
    return _stopped(target, part, draw.uniform(*_AWAY_S))


def _stopped(target: Target, part: str, seconds: float, felled: tuple[str, ...] = ()) -> Blow | None:
    pid = target.pid(part)
    if pid is None or not send(pid, signal.SIGSTOP):
        return None
    end = partial(send, pid, signal.SIGCONT)
    return Blow(what=f"SIGSTOP of {part} for {seconds:.1f} s", felled=felled, end=end, lasts_s=seconds)


def _ask_node_to_end(target: Target, draw: Random) -> Blow | None:
    return _ask_to_end(draw.choice(_NAMES), target, draw)


def _ask_to_end(part: str, target: Target, _: Random) -> Blow | None:
    pid = target.pid(part)
    return Blow(what=f"SIGTERM of {part}") if pid and send(pid, signal.SIGTERM) else None


def _litter(target: Target, draw: Random) -> Blow:
    queue, message = draw.choice((*QUEUES, "ingest")), draw.choice(_MALFORMED)
    with target.broker() as broker:
        broker.rpush(queue, message)
    return Blow(what=f"{message!r} pushed on {queue}")


def _steal(target: Target, draw: Random) -> Blow | None:
    queue = draw.choice((*QUEUES, "ingest"))
    with target.broker() as broker:
        stolen = broker.llen(queue)
        broker.delete(queue)
    return Blow(what=f"{stolen} messages taken from {queue}") if stolen else None


def _mortal(target: Target, draw: Random) -> str | None:
    node = draw.choice(_NAMES)
    return node if target.may_kill(node) else None


FAULTS = (
    Fault("engine killed", 4, _kill_engine),
    Fault("node killed", 3, _kill_node),
    Fault("node stopped", 3, _stop_node),
    Fault("node asked to end", 2, _ask_node_to_end),
    Fault("ingest killed", 2, partial(_kill, "ingest")),
    Fault("ingest stopped", 1, partial(_stop, "ingest")),
    Fault("ingest asked to end", 1, partial(_ask_to_end, "ingest")),
    Fault("coordinator killed", 2, partial(_kill, "coordinator")),
    Fault("coordinator stopped", 2, partial(_stop, "coordinator")),
    Fault("coordinator asked to end", 1, partial(_ask_to_end, "coordinator")),
    Fault("Valkey killed", 2, partial(_kill, "valkey")),
    Fault("Valkey stopped", 2, partial(_stop, "valkey")),
    Fault("store killed", 2, partial(_kill, "seaweedfs")),
    Fault("store stopped", 3, partial(_stop, "seaweedfs")),
    Fault("all killed", 1, _kill_tree),
    Fault("flushed", 3, _flush),
    Fault("malformed message", 2, _litter),
    Fault("messages lost", 4, _steal),
)

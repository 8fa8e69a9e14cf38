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
#: A stopped store comes back within these.
_STORE_AWAY_S = (1.0, 6.0)
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
    pid = node and target.pid(node)
    if not node or not pid or not send(pid, signal.SIGSTOP):
        return None
    what = f"SIGSTOP of {node} for {_ZOMBIE_S:.0f} s"
    return Blow(what=what, felled=(node,), end=partial(send, pid, signal.SIGCONT), lasts_s=_ZOMBIE_S)


def _stop_store(target: Target, draw: Random) -> Blow | None:
    pid, away = target.pid("seaweedfs"), draw.uniform(*_STORE_AWAY_S)
    if pid is None or not send(pid, signal.SIGSTOP):
        return None
    what = f"SIGSTOP of SeaweedFS for {away:.1f} s"
    return Blow(what=what, end=partial(send, pid, signal.SIGCONT), lasts_s=away)


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
    Fault("ingest killed", 3, partial(_kill, "ingest")),
    Fault("coordinator killed", 3, partial(_kill, "coordinator")),
    Fault("Valkey killed", 3, partial(_kill, "valkey")),
    Fault("all killed", 1, _kill_tree),
    Fault("flushed", 3, _flush),
    Fault("node stopped", 3, _stop_node),
    Fault("store stopped", 3, _stop_store),
    Fault("malformed message", 3, _litter),
    Fault("messages lost", 4, _steal),
)

"""The faults: what can be done to a farm's processes, broker and database from outside."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from tests.faults.target import QUEUES, TIMING, Target, send
from tests.postgres import start_postgres, stop_postgres

#: A stopped node comes back this long after its stop, its lease long over.
_ZOMBIE_S = 2 * TIMING.lease_s
#: What else is stopped goes on within these.
AWAY_S = (1.0, 6.0)
#: The same of engines: longer than a pass, shorter than what ends them as hung.
_ENGINE_AWAY_S = (6.0, 20.0)
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


def _stop_engine(target: Target, draw: Random) -> Blow | None:
    """As if somebody played on its card: its node lives, and its pass does not end."""
    node = draw.choice(target.nodes)
    return _stopped(f"the engine of {node}", target.engine(node), draw.uniform(*_ENGINE_AWAY_S))


def _kill_node(target: Target, draw: Random) -> Blow | None:
    node = _mortal(target, draw)
    return Blow(what=f"kill -9 of {node}", felled=(node,)) if node and target.kill(node) else None


def _kill(part: str, target: Target, _: Random) -> Blow | None:
    return Blow(what=f"kill -9 of {part}") if target.kill(part) else None


def _flush(target: Target, _: Random) -> Blow:
    with target.broker() as broker:
        broker.flushall()
    return Blow(what="FLUSHALL")


def _stop_node(target: Target, draw: Random) -> Blow | None:
    node = _mortal(target, draw)
    return node and _stopped(node, target.pid(node), _ZOMBIE_S, felled=(node,))


def _stop(part: str, target: Target, draw: Random) -> Blow | None:
    return _stopped(part, target.pid(part), draw.uniform(*AWAY_S))


def _stopped(part: str, pid: int | None, seconds: float, felled: tuple[str, ...] = ()) -> Blow | None:
    if pid is None or not send(pid, signal.SIGSTOP):
        return None
    end = partial(send, pid, signal.SIGCONT)
    return Blow(what=f"SIGSTOP of {part} for {seconds:.1f} s", felled=felled, end=end, lasts_s=seconds)


def _ask_node_to_end(target: Target, draw: Random) -> Blow | None:
    return _ask_to_end(draw.choice(target.nodes), target, draw)


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


def _restart_postgres(socket: str, _: Target, __: Random) -> Blow:
    stop_postgres(socket)
    start_postgres(socket)
    return Blow(what="crash of PostgreSQL, then its start")


def _mortal(target: Target, draw: Random) -> str | None:
    node = draw.choice(target.nodes)
    return node if target.may_kill(node) else None


FAULTS = (
    Fault("engine killed", 4, _kill_engine),
    Fault("engine stopped", 4, _stop_engine),
    Fault("node killed", 3, _kill_node),
    Fault("node stopped", 3, _stop_node),
    Fault("node asked to end", 2, _ask_node_to_end),
    Fault("ingest killed", 2, partial(_kill, "ingest")),
    Fault("ingest stopped", 1, partial(_stop, "ingest")),
    Fault("ingest asked to end", 1, partial(_ask_to_end, "ingest")),
    Fault("coordinator killed", 2, partial(_kill, "coordinator")),
    Fault("coordinator stopped", 2, partial(_stop, "coordinator")),
    Fault("coordinator asked to end", 1, partial(_ask_to_end, "coordinator")),
    Fault("gateway killed", 3, partial(_kill, "gateway")),
    Fault("gateway stopped", 3, partial(_stop, "gateway")),
    Fault("gateway asked to end", 1, partial(_ask_to_end, "gateway")),
    Fault("Valkey killed", 2, partial(_kill, "valkey")),
    Fault("Valkey stopped", 2, partial(_stop, "valkey")),
    Fault("flushed", 3, _flush),
    Fault("malformed message", 2, _litter),
    Fault("messages lost", 4, _steal),
)


def postgres_faults(socket: str) -> tuple[Fault, ...]:
    """What can be done to the server with this socket folder."""
    return (Fault("PostgreSQL restarted", 2, partial(_restart_postgres, socket)),)

"""Faults of the store, one at a time, and of the whole farm, which does not start without its store."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from random import Random

from common.storage import EMBEDDINGS
from tests.faults.blows import AWAY_S, Blow, Fault
from tests.faults.proxied_store import ProxiedStore
from tests.faults.s3_proxy import Trouble
from tests.faults.target import SCALE, TIMING, Target, send

#: "S3 down for 2 minutes", as all durations here at a fifth.
_DOWN_S = 120 / SCALE
_STATUSES = (500, 503, 403, 409)
#: "It is there already", of what is not.
_STATUSES_OF_PUTS = (*_STATUSES, 412)


def store_faults(store: ProxiedStore) -> tuple[Fault, ...]:
    """What can be done to the store and with it."""
    return (
        Fault("store killed", 2, partial(_kill, store)),
        Fault("store stopped", 2, partial(_stop, store)),
        Fault("store down for two minutes", 1, partial(_down, store)),
        Fault("store slow", 2, partial(_slow, store)),
        Fault("store silent", 2, partial(_silent, store)),
        Fault("store refuses all", 2, partial(_refuse, store, "everything", "", _STATUSES)),
        Fault(
            "store refuses uploads", 2, partial(_refuse, store, "uploads", "quarantine/", _STATUSES_OF_PUTS)
        ),
        Fault("store refuses pictures", 2, partial(_refuse, store, "pictures", "images/", _STATUSES_OF_PUTS)),
        Fault("embeddings lost", 3, partial(_lose_embeddings, store)),
        Fault("embeddings damaged", 2, partial(_damage_embeddings, store)),
        Fault("all killed", 1, partial(_kill_all, store)),
        Fault("all asked to end", 1, partial(_end_all, store)),
    )


def _kill(store: ProxiedStore, _: Target, draw: Random) -> Blow | None:
    return _ailing(store, "kill -9 of the store, away", store.killed(), draw.uniform(*AWAY_S))


def _stop(store: ProxiedStore, _: Target, draw: Random) -> Blow | None:
    return _ailing(store, "SIGSTOP of the store", store.stopped(), draw.uniform(*AWAY_S))


def _down(store: ProxiedStore, _: Target, __: Random) -> Blow | None:
    return _troubled(store, "the store closes calls without a word", Trouble(status=0), _DOWN_S)


def _slow(store: ProxiedStore, _: Target, draw: Random) -> Blow | None:
    trouble = Trouble(delay_s=TIMING.heartbeat_s)
    return _troubled(store, "the store is slow", trouble, draw.uniform(*AWAY_S))


def _silent(store: ProxiedStore, _: Target, draw: Random) -> Blow | None:
    seconds = draw.uniform(*AWAY_S)
    trouble = Trouble(delay_s=seconds, status=0)
    return _troubled(store, "the store takes calls and never answers", trouble, seconds)


def _refuse(
    store: ProxiedStore, what: str, prefix: str, statuses: tuple[int, ...], _: Target, draw: Random
) -> Blow | None:
    """All calls, or with a prefix the PUTs of such keys."""
    status = draw.choice(statuses)
    trouble = Trouble(method="PUT" if prefix else "", prefix=prefix, status=status)
    return _troubled(store, f"the store answers {status} to {what}", trouble, draw.uniform(*AWAY_S))


def _lose_embeddings(store: ProxiedStore, target: Target, draw: Random) -> Blow | None:
    keys = _some_embeddings(store, target, draw)
    client, bucket = target.store()
    for key in keys:
        client.delete_object(Bucket=bucket, Key=key)
    return Blow(what=f"{len(keys)} embeddings are lost") if keys else None


def _damage_embeddings(store: ProxiedStore, target: Target, draw: Random) -> Blow | None:
    keys = _some_embeddings(store, target, draw)
    client, bucket = target.store()
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=draw.randbytes(200))
    return Blow(what=f"{len(keys)} embeddings are damaged") if keys else None


def _some_embeddings(store: ProxiedStore, target: Target, draw: Random) -> list[str]:
    """Half of those in the store; none while it ails."""
    keys = sorted(target.objects(EMBEDDINGS)) if store.is_well else []
    return draw.sample(keys, -(-len(keys) // 2))


def _troubled(store: ProxiedStore, what: str, trouble: Trouble, seconds: float) -> Blow | None:
    return _ailing(store, what, store.proxy.trouble(trouble), seconds)


def _ailing(
    store: ProxiedStore, what: str, ailment: AbstractContextManager[object], seconds: float
) -> Blow | None:
    """The ailment begins, unless another lasts."""
    if not store.is_well:
        return None
    ending = ExitStack()
    ending.enter_context(store.ailing(ailment))
    return Blow(what=f"{what} for {seconds:.1f} s", end=ending.close, lasts_s=seconds)


def _kill_all(store: ProxiedStore, target: Target, _: Random) -> Blow | None:
    if not _may_end_all(store, target):
        return None
    for pid in target.tree():
        send(pid, signal.SIGKILL)
    with store.killed():
        target.house.wait_for(target.house.processes, lambda processes: processes == [])
    target.house.farm("up")
    return Blow(what="kill -9 of the supervisor, all below it and the store, then `farm up`")


def _end_all(store: ProxiedStore, target: Target, _: Random) -> Blow | None:
    if not _may_end_all(store, target):
        return None
    target.house.farm("down")
    target.house.farm("up")
    return Blow(what="`farm down`, then `farm up`")


def _may_end_all(store: ProxiedStore, target: Target) -> bool:
    return store.is_well and all(map(target.may_kill, target.nodes))

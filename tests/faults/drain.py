"""A drain attacker: nodes that claim and heartbeat, say that they work, and deliver nothing.

Its owner has an invitation for each of ever new names, of which several are there at a time, and each name
parks by several calls at once.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from common.errors import FarmError, Gone
from common.invitations import read_invitation
from common.messages import Heartbeat, Lease, Park, Spent
from tests.faults.target import TIMING, Target
from tests.faults.volunteers import Volunteer, invited
from tests.gateway import FarNode

OWNER = "drain"
#: Names that are there at a time, and calls of each that wait for work.
_AT_ONCE, _CALLS = 3, 2
#: A name that got nothing for so long is given up for another.
_PATIENCE_S = 30.0
#: Between two tries of what was refused.
_PAUSE_S = 0.5
_WATTS = 100.0


@contextmanager
def draining(target: Target, folder: Path) -> Iterator[None]:
    """The attack on the farm at `target`, as long as the block lasts; what it holds then it keeps."""
    over = threading.Event()
    attackers = [
        threading.Thread(target=_attack, args=(target, folder, f"{OWNER}-{number}", over), name="drain")
        for number in range(_AT_ONCE)
    ]
    for attacker in attackers:
        attacker.start()
    try:
        yield
    finally:
        over.set()
        for attacker in attackers:
            attacker.join()


def _attack(target: Target, folder: Path, name: str, over: threading.Event) -> None:
    for number in count():
        if over.is_set():
            return
        one = Volunteer(f"{name}-{number}", OWNER, "")
        with suppress(FarmError), joined(target, folder, one.name, invited(target, one)) as node:
            calls = [threading.Thread(target=_claim, args=(node, over), name=name) for _ in range(_CALLS)]
            for call in calls:
                call.start()
            for call in calls:
                call.join()
        over.wait(_PAUSE_S)


@contextmanager
def joined(target: Target, folder: Path, name: str, invitation: str) -> Iterator[FarNode]:
    node = FarNode(folder, read_invitation(invitation), name)
    try:
        node.join()
        yield node
    finally:
        node.close()


def _claim(node: FarNode, over: threading.Event) -> None:
    """Until it had a lease, or got none for too long."""
    given_up_at = time.monotonic() + _PATIENCE_S
    while not over.is_set() and time.monotonic() < given_up_at:
        beat = Heartbeat(incarnation=node.joined.incarnation)
        try:
            park = Park(beat=beat, turn=secrets.token_hex(16), wait_s=TIMING.park_wait_s)
            lease = node.park(park).lease
        except Gone:
            return
        except FarmError:
            lease = None
        if lease is not None:
            _hold(node, lease, over)
            return
        over.wait(_PAUSE_S)


def _hold(node: FarNode, lease: Lease, over: threading.Event) -> None:
    """Heartbeat as if it worked, until it is told to stop."""
    began = time.monotonic()
    while not over.wait(TIMING.heartbeat_s):
        seconds = time.monotonic() - began
        beat = Heartbeat(
            incarnation=node.joined.incarnation,
            batch_id=lease.batch_id,
            token=lease.token,
            spent=Spent(seconds={"denoise": seconds}, joules=seconds * _WATTS),
            steps_done=round(seconds),
            loaded_model=lease.model,
        )
        with suppress(FarmError):
            if node.farm.heartbeat(node.joined.node_id, beat).order != "go on":
                return

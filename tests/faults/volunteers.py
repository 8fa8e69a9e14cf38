"""Nodes of other people: they join by invitations, reach the gateway alone, and start again when they end.

One of them draws something else than it is asked for.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from common.access_messages import NewInvitation
from common.keys import write_private
from coordinator.embedded.process import Child, Component
from coordinator.embedded.supervisor import Supervisor
from tests.e2e.conftest import CARDS
from tests.faults.engines import with_engine
from tests.faults.target import Target


class Volunteer(NamedTuple):
    name: str
    owner: str
    #: A file of `CARDS`.
    card: str


UPRIGHT = (Volunteer("home-8", "dora", "gtx-1070.yaml"), Volunteer("home-24", "emil", "rtx-4090.yaml"))
CHEATER = Volunteer("cheat-8", "mallory", "gtx-1070.yaml")
#: What a cheater draws: noise, or its first picture again and again.
LIES = ("noise", "stale")


def invited(target: Target, volunteer: Volunteer) -> str:
    """The line by which a node of this name joins."""
    with target.client() as client:
        new = NewInvitation(name=volunteer.name, owner=volunteer.owner, terms="volunteer")
        return client.invite_node(new).text


@contextmanager
def volunteering(target: Target, folder: Path, engine: str, lie: str) -> Iterator[None]:
    """The farm at `target` has the nodes above, with engines of this kind, as long as the block lasts."""
    # Nothing of theirs is in the folder of the farm.
    models = shutil.copytree(target.house.folder / "models", folder / "models")
    upright, lying = with_engine(engine), with_engine("quick")
    lying |= {"QUICK_LIES": lie, "QUICK_LIES_TOLD": str(_told(folder))}
    children = []
    for volunteer, environment in (*((one, upright) for one in UPRIGHT), (CHEATER, lying)):
        invitation = folder / f"{volunteer.name}.invitation"
        write_private(invitation, invited(target, volunteer))
        children.append(_node(volunteer, invitation, models, environment))
    target.elsewhere.update({child.component.name: child for child in children})
    over = threading.Event()
    supervisor = Supervisor(
        stages=(tuple(children),), publish=lambda _: None, clock=time.monotonic, stop=over
    )

    def keep() -> None:
        # The system ends a child with the thread that started it.
        supervisor.bring_up()
        supervisor.watch()
        supervisor.shut_down()

    keeping = threading.Thread(target=keep, name="volunteers")
    keeping.start()
    try:
        yield
    finally:
        over.set()
        keeping.join()


def lies_told(folder: Path) -> frozenset[str]:
    """Shots of which the cheater drew something else."""
    return frozenset(_told(folder).read_text().split()) if _told(folder).exists() else frozenset()


def _told(folder: Path) -> Path:
    return folder / "lies"


def _node(volunteer: Volunteer, invitation: Path, models: Path, environment: Mapping[str, str]) -> Child:
    home = invitation.parent / volunteer.name
    home.mkdir()
    program = str(Path(sys.executable).with_name("farm-node"))
    options = ("--invite", str(invitation), "--home", str(home / "home"), "--models", str(models))
    command = (program, "run", *options, "--card", str(CARDS / volunteer.card))
    return Child(Component(name=volunteer.name, command=command), home / "log", home, dict(environment))

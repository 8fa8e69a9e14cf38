"""`farm status`: what runs where, what waits, and what fits nowhere."""

from __future__ import annotations

from pydantic import BaseModel
from rich.console import RenderableType

from common.errors import Unavailable
from common.settings import load_settings
from common.views import NodeView, StatusView
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.jobs import jobs_table
from coordinator.cli.local import components_table
from coordinator.cli.show import counted, out, print_json, table
from coordinator.embedded.home import Home
from coordinator.embedded.state import FarmState, read_state, supervisor_pid

_LATEST_JOBS = 10


class Status(BaseModel):
    #: The processes of this machine; None when no farm runs in this home.
    local: FarmState | None
    #: What the coordinator says; None while it does not answer.
    farm: StatusView | None


def status_command(settings: options.SettingsFile = None, as_json: options.AsJson = False) -> None:
    """Show the farm: its parts, nodes, queues and jobs, what fits no node and why, and how busy the API is.

    Exit code 1 when no farm answers.

    Example: `farm status --json`
    """
    home = Home(load_settings(settings).home.absolute())
    local = read_state(home) if supervisor_pid(home) is not None else None
    problem: Unavailable | None = None
    view: StatusView | None = None
    try:
        with connect(settings) as client:
            view = client.status()
    except Unavailable as error:
        problem = error
    if as_json:
        print_json(Status(local=local, farm=view))
    else:
        for block in _blocks(local, view):
            out.print(block, end="\n\n")
    if problem is not None:
        raise problem


def _blocks(local: FarmState | None, view: StatusView | None) -> list[RenderableType]:
    blocks: list[RenderableType] = []
    if local is not None and local.components:
        blocks.append(components_table(local))
    if view is None:
        return blocks
    if view.broker != "up":
        blocks.append(f"broker: {view.broker}")
    blocks.append(_nodes(view.nodes) if view.nodes else "no node has joined: `farm-node run` makes one")
    blocks.append(_queues(view) if view.queues else "no queues yet")
    blocks.append(jobs_table(view.jobs[:_LATEST_JOBS]) if view.jobs else "no jobs")
    blocks += [
        f"{counted(misfit.shots, 'shot')} fit no node ({misfit.example}): {misfit.reason}"
        for misfit in view.misfits
    ]
    traffic = f"{view.requests_per_minute:.0f} requests, {view.tickets_per_minute:.0f} tickets"
    blocks.append(f"{traffic} in the last minute")
    return blocks


def _nodes(nodes: tuple[NodeView, ...]) -> RenderableType:
    rows = [
        (
            node.name,
            node.state + (" (parked)" if node.parked else ""),
            f"{node.vram_class} GB",
            node.card,
            ", ".join(node.lanes),
            node.loaded_model or "-",
            f"{node.watts:.0f} W" if node.watts is not None else "-",
            node.reason,
        )
        for node in nodes
    ]
    headings = ("node", "state", "class", "card", "lanes", "loaded", "power", "")
    return table(*headings, rows=rows, right=("class", "power"))


def _queues(view: StatusView) -> RenderableType:
    rows = [
        (
            queue.lane,
            f"{queue.vram_class} GB",
            str(queue.waiting),
            "?" if queue.tickets is None else str(queue.tickets),
        )
        for queue in view.queues
    ]
    headings = ("lane", "class", "shots waiting", "tickets")
    return table(*headings, rows=rows, right=headings[1:])

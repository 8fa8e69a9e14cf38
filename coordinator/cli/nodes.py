"""`farm nodes`, and commands for one node: `farm node drain`, `pause`, `resume` and others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.table import Table

from common.commandline import Command, CommandGroup
from common.views import NodeView
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.names import the_node
from coordinator.cli.show import out, print_json, print_list, table
from coordinator.client import NodeVerb
from coordinator.explain.fleet import node_facts
from coordinator.explain.wording import left_to_others, out_of_service, slowly

Node = Annotated[
    str,
    typer.Argument(metavar="NODE", parser=options.word, help="Node name; `farm nodes` lists them."),
]
Reason = Annotated[
    str,
    typer.Option(
        "--reason",
        metavar="TEXT",
        parser=options.text,
        help="Reason, shown by `farm nodes` and `farm explain`.",
    ),
]

node_app = typer.Typer(
    cls=CommandGroup,
    help="Control one node: drain, pause, resume, quarantine, forgive, forget.",
    no_args_is_help=True,
)


def nodes_command(settings: options.SettingsFile = None, as_json: options.AsJson = False) -> None:
    """List all nodes with their state, why they are idle, and what they render much slower than expected.

    Example: `farm nodes --json`
    """
    with connect(settings) as client:
        none = "no node has joined yet; start one with `farm-node run`"
        print_list(client.nodes(), nodes_table, none, as_json)


@node_app.command("drain", cls=Command)
def drain_command(
    node: Node, reason: Reason = "", settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Let a node finish its current batch, then take it offline until `farm node resume`.

    Example: `farm node drain workshop`
    """
    _steer(node, "drain", reason, settings, as_json)


@node_app.command("pause", cls=Command)
def pause_command(
    node: Node, reason: Reason = "", settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Pause a node: release its GPU and return its batch to the backlog immediately.

    Shots of the batch do not count as failed.

    Example: `farm node pause workshop --reason "a game"`
    """
    _steer(node, "pause", reason, settings, as_json)


@node_app.command("resume", cls=Command)
def resume_command(
    node: Node, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Resume a drained or paused node. A node paused by its owner can be resumed only by its owner.

    Example: `farm node resume workshop`
    """
    _steer(node, "resume", "", settings, as_json)


@node_app.command("quarantine", cls=Command)
def quarantine_command(
    node: Node, reason: Reason = "", settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Take a node out of service immediately because its images cannot be trusted.

    Later the node renders one test shot, and returns to service once that image is stored.

    Example: `farm node quarantine workshop --reason "green pictures"`
    """
    _steer(node, "quarantine", reason, settings, as_json)


@node_app.command("forgive", cls=Command)
def forgive_command(
    node: Node, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """End the quarantine of a node immediately and clear its failure record.

    Example: `farm node forgive workshop`
    """
    _steer(node, "forgive", "", settings, as_json)


@node_app.command("forget", cls=Command)
def forget_command(
    node: Node, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Leave a node that does not come back out of lists, metrics and alerts.

    Its images, costs and measured speeds remain; if it joins again, it is as it was.

    Example: `farm node forget workshop`
    """
    _steer(node, "forget", "", settings, as_json)


def nodes_table(nodes: Sequence[NodeView]) -> Table:
    rows = [
        (
            node.name,
            node.state + (" (parked)" if node.parked else ""),
            f"{node.vram_class} GB",
            node.card,
            ", ".join(node.lanes),
            node.loaded_model or "-",
            f"{node.watts:.0f} W" if node.watts is not None else "-",
            "; ".join(_remarks(node)),
        )
        for node in nodes
    ]
    headings = ("node", "state", "class", "card", "lanes", "loaded", "power", "")
    whole = ("node", "state", "class", "loaded", "power")
    return table(*headings, rows=rows, right=("class", "power"), whole=whole)


def _remarks(node: NodeView) -> Iterator[str]:
    """Why it is idle, what it does before it renders, and what it renders slowly."""
    if words := node.reason or node.doing:
        yield words
    if node.leaves:
        yield left_to_others(node.leaves)
    yield from map(slowly, node.slow_paths)


def _steer(name: str, verb: NodeVerb, reason: str, settings: options.SettingsFile, as_json: bool) -> None:
    with connect(settings) as client:
        node = client.steer_node(the_node(client, name).name, verb, reason)
    if as_json:
        print_json(node)
        return
    answer = out_of_service(node_facts(node))
    back = f" → {answer.remedy}" if answer.remedy else ""
    out.say(f"{answer.sentence}{back}")

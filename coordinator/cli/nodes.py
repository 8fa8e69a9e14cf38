"""`farm nodes`, and what steers one: `farm node drain`, `pause`, `resume`, `quarantine`, `forgive`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from rich.table import Table

from common.commandline import Command, Group
from common.states import NodeState
from common.views import NodeView
from coordinator.cli import options
from coordinator.cli.connection import connect, in_service
from coordinator.cli.names import the_node
from coordinator.cli.show import out, print_json, table
from coordinator.client import NodeVerb
from coordinator.explain import NodeFacts
from coordinator.explain.wording import out_of_service

Node = Annotated[
    str,
    typer.Argument(metavar="NODE", parser=options.word, help="Name of a node, as `farm nodes` lists them."),
]
Reason = Annotated[
    str,
    typer.Option(
        "--reason",
        metavar="TEXT",
        parser=options.text,
        help="Why; shown to whoever asks why it does nothing.",
    ),
]

node_app = typer.Typer(
    cls=Group, help="Steer one node: drain, pause, resume, quarantine, forgive.", no_args_is_help=True
)


def nodes_command(settings: options.SettingsFile = None, as_json: options.AsJson = False) -> None:
    """List the nodes of the farm: what they do, or why they do nothing.

    Example: `farm nodes --json`
    """
    with connect(settings) as client:
        nodes = client.nodes()
    if as_json:
        print_json(nodes)
    elif nodes:
        out.print(nodes_table(nodes))
    else:
        out.print("no node has joined: `farm-node run` makes one")


@node_app.command("drain", cls=Command)
def drain_command(
    node: Node, reason: Reason = "", settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Let a node finish the batch it has and take no other; then it is offline until it is resumed.

    Example: `farm node drain workshop`
    """
    _steer(node, "drain", reason, settings, as_json)


@node_app.command("pause", cls=Command)
def pause_command(
    node: Node, reason: Reason = "", settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Take a node's work away at once and free its card; its shots wait again, nobody is blamed.

    Example: `farm node pause workshop --reason "a game"`
    """
    _steer(node, "pause", reason, settings, as_json)


@node_app.command("resume", cls=Command)
def resume_command(
    node: Node, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Let a drained or paused node work again. What its owner paused only its owner resumes.

    Example: `farm node resume workshop`
    """
    _steer(node, "resume", "", settings, as_json)


@node_app.command("quarantine", cls=Command)
def quarantine_command(
    node: Node, reason: Reason = "", settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Take a node's work away at once because its pictures are not to be trusted.

    After a while it is tested with one shot, and works again once that is stored.

    Example: `farm node quarantine workshop --reason "green pictures"`
    """
    _steer(node, "quarantine", reason, settings, as_json)


@node_app.command("forgive", cls=Command)
def forgive_command(
    node: Node, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Trust a node again at once, with a clean record.

    Example: `farm node forgive workshop`
    """
    _steer(node, "forgive", "", settings, as_json)


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
            node.reason,
        )
        for node in nodes
    ]
    headings = ("node", "state", "class", "card", "lanes", "loaded", "power", "")
    return table(*headings, rows=rows, right=("class", "power"))


def idle_sentences(nodes: Iterable[NodeView]) -> list[str]:
    """A sentence for each node that does nothing and will not by itself, with what would change it.

    Those that their owners ended, as every evening, are not worth one.
    """
    said = []
    for node in nodes:
        ended = node.state == NodeState.OFFLINE and node.decided_by == "owner"
        if not in_service(node) and not ended:
            answer = out_of_service(_facts(node))
            said.append(f"{answer.sentence} → {answer.remedy}" if answer.remedy else answer.sentence)
    return said


def _facts(node: NodeView) -> NodeFacts:
    return NodeFacts(
        name=node.name,
        state=NodeState(node.state),
        reason=node.reason,
        in_service=in_service(node),
        by_owner=node.decided_by == "owner",
    )


def _steer(name: str, verb: NodeVerb, reason: str, settings: options.SettingsFile, as_json: bool) -> None:
    with connect(settings) as client:
        node = client.steer_node(the_node(client, name).name, verb, reason)
    if as_json:
        print_json(node)
        return
    answer = out_of_service(_facts(node))
    back = f" → {answer.remedy}" if answer.remedy else ""
    out.say(f"{answer.sentence}{back}")

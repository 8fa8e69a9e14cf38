"""`farm nodes`, and commands for one node: invite, drain, pause, resume, quarantine, revoke and others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from common.access_messages import LONGEST_INVITATION_S, IssuedInvitation, NewInvitation
from common.commandline import Command, CommandGroup
from common.errors import Invalid
from common.key_messages import lane_name, node_name
from common.nodes import Terms
from common.terminal import styled_lines
from common.units import counted
from common.views import NodeView
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.names import the_node
from coordinator.cli.options import duration, parsed
from coordinator.cli.pictures import acting_person, must_agree
from coordinator.cli.qr import QR_STYLE, qr_lines
from coordinator.cli.show import err, out, print_json, print_list, table
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
    help="Invite a node, or control one: drain, pause, resume, quarantine, forgive, vouch, revoke and more.",
    no_args_is_help=True,
)


def nodes_command(settings: options.SettingsFile = None, as_json: options.AsJson = False) -> None:
    """List all nodes with their state, why they are idle, and what they render much slower than expected.

    Example: `farm nodes --json`
    """
    with connect(settings) as client:
        none = "no node has joined yet; start one with `farm-node run`"
        print_list(client.nodes(), nodes_table, none, as_json, words_of_nodes)


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

    Later the node renders one test shot, and returns to service once that image is stored; that of a
    volunteer must first show the same as another node's.

    Example: `farm node quarantine workshop --reason "green pictures"`
    """
    _steer(node, "quarantine", reason, settings, as_json)


@node_app.command("forgive", cls=Command)
def forgive_command(
    node: Node, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """End the quarantine of a node immediately and clear its failure record.

    If its owner was barred for a false image, the owner begins again on probation, with all of its nodes.

    Example: `farm node forgive workshop`
    """
    _steer(node, "forgive", "", settings, as_json)


@node_app.command("vouch", cls=Command)
def vouch_command(node: Node, settings: options.SettingsFile = None, as_json: options.AsJson = False) -> None:
    """Say that you know the owner of a volunteer's node, without which no owner becomes trusted.

    A trusted owner sees the prompts of private lanes, where its invitations name them.

    Example: `farm node vouch attic`
    """
    _steer(node, "vouch", "", settings, as_json)


@node_app.command("discard-pictures", cls=Command)
def discard_pictures_command(
    node: Node,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Delete all stored images that a node rendered; jobs that have them get new ones with the same seeds.

    Example: `farm node discard-pictures attic`
    """
    with connect(settings) as client:
        name = the_node(client, node).name
        must_agree(f"Delete all stored images of node {name}, and let jobs render new ones?", yes=yes)
        deleted = client.discard_images(name, by=acting_person())
    if as_json:
        print_json(deleted)
    else:
        out.say(f"{counted(deleted.images, 'image')} of node {name} deleted; jobs that had them get new ones")


@node_app.command("disavow", cls=Command)
def disavow_command(
    node: Node, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Undo `farm node vouch`: the owner is trusted no more, and private lanes close to its nodes at once.

    Example: `farm node disavow attic`
    """
    _steer(node, "disavow", "", settings, as_json)


@node_app.command("forget", cls=Command)
def forget_command(
    node: Node, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Leave a node that does not come back out of lists, metrics and alerts.

    Its images, costs and measured speeds remain; if it joins again, it is as it was.

    Example: `farm node forget workshop`
    """
    _steer(node, "forget", "", settings, as_json)


_InvitedTerms = Annotated[
    Terms,
    typer.Option(
        "--terms",
        metavar="TERMS",
        help="Who pays: `owned` and `rented` cards cost the farm, also while idle; `volunteer` cards do not.",
    ),
]


_InvitedName = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        parser=parsed(node_name),
        help="Name of the node. Default: its owner chooses.",
    ),
]
_InvitedLanes = Annotated[
    list[str] | None,
    typer.Option(
        "--lane",
        metavar="LANE",
        parser=parsed(lane_name),
        help="Lane that the node serves. Repeatable. Default: public.",
    ),
]


@node_app.command("invite", cls=Command)
def invite_command(
    name: _InvitedName = None,
    owner: Annotated[
        str | None,
        options.owner_option(
            "Owner of the card, the same for all cards of a person; volunteers need one. "
            "Default: the name of the node, or else `farm`."
        ),
    ] = None,
    lane: _InvitedLanes = None,
    terms: _InvitedTerms = "volunteer",
    ttl: Annotated[
        Any,
        typer.Option(
            "--ttl", metavar="TIME", parser=parsed(duration), help="For how long: `30m`, at most `1d`."
        ),
    ] = "30m",
    uses: Annotated[
        int, typer.Option("--uses", metavar="N", min=1, max=1000, help="How many nodes may join by it.")
    ] = 1,
    qr: Annotated[
        bool, typer.Option("--qr", help="Also show the invitation as a QR code, for the camera of a phone.")
    ] = False,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Print an invitation, this once: lines of which the owner of a card pastes one to start a node.

    The node has the owner, lanes and terms of the invitation, whatever it says itself. The standard output
    has the invitation alone, for `farm-node run --invite`.

    Example: `farm node invite --name attic --owner ana --lane public --ttl 1h`
    """
    if ttl > LONGEST_INVITATION_S:
        raise Invalid("--ttl: an invitation is valid for a day at most, such as `1d`")
    if name is not None and uses > 1:
        raise Invalid("--uses: an invitation for one name has one use; leave --name out for several nodes")
    if owner is None and terms == "volunteer":
        raise Invalid("--owner: name whose card it is, the same for all cards of a person, such as `ana`")
    new = NewInvitation(
        name=name,
        owner=owner or name or "farm",
        lanes=tuple(lane or ("public",)),
        terms=terms,
        valid_s=ttl,
        uses=uses,
    )
    with connect(settings) as client:
        issued = client.invite_node(new)
    if as_json:
        print_json(issued)
    else:
        _show_invitation(issued, qr=qr)


def _show_invitation(issued: IssuedInvitation, *, qr: bool) -> None:
    lanes = f"lane {', '.join(issued.lanes)}"
    whose = f"{issued.name or 'a node'} of {issued.owner}, {issued.terms}, {lanes}"
    often = "once" if issued.uses == 1 else f"{issued.uses} times"
    err.say(f"for {whose}; valid {often} until {datetime.fromtimestamp(issued.expires_at):%Y-%m-%d %H:%M}")
    if issued.shell_line:
        err.say(
            "its owner pastes one of these lines into a terminal; they are not shown again", style="yellow"
        )
        for system, line in (("Linux", issued.shell_line), ("PowerShell", issued.powershell_line)):
            err.say((f"{system}:", "bold"))
            err.say(line)
        err.say("the invitation alone, for `farm-node run --invite`:")
    else:
        err.say(
            "its owner runs `farm-node run --invite` with this line, which is not shown again; a farm that "
            "nodes reach by `https://` also has a line that installs it:",
            style="yellow",
        )
    out.say(issued.text)
    if qr:
        err.print(styled_lines(qr_lines(issued.text), style=QR_STYLE), soft_wrap=True)


@node_app.command("revoke", cls=Command)
def revoke_command(
    node: Node, reason: Reason = "", settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """End the access of a node for good: its batch returns to the backlog, its key is never valid again.

    No other key can join under its name until `farm node remove`. Whoever has the node key of the farm can
    join under another name: replace that key, too, if the node had it. Nobody else can join by the invitation
    of the node; those that have joined by it stay, and are named.

    Example: `farm node revoke attic --reason stolen`
    """
    _end(node, reason, settings, as_json, remove=False)


@node_app.command("remove", cls=Command)
def remove_command(
    node: Node, reason: Reason = "", settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """As `farm node revoke`, and take the node off the list. Another key may join under its name.

    Example: `farm node remove attic`
    """
    _end(node, reason, settings, as_json, remove=True)


def _end(name: str, reason: str, settings: options.SettingsFile, as_json: bool, *, remove: bool) -> None:
    with connect(settings) as client:
        known = the_node(client, name).name
        ended = client.revoke_node(known, reason, remove=remove)
    if as_json:
        print_json(ended)
    else:
        out.say(f"node {known} is {ended.state}: its key is not valid any more")
        if ended.siblings:
            names = ", ".join(ended.siblings)
            out.say(
                f"by the same invitation joined {names}, which may work on: revoke those of the same owner"
            )


def words_of_nodes(nodes: Sequence[NodeView]) -> set[str]:
    """Words in the table of these nodes that may need help."""
    parked = {"parked"} if any(node.parked for node in nodes) else set()
    return {"class", "lane", *parked, *(node.state for node in nodes)}


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
    if node.sfw_only:
        yield "SFW only"
    if node.standing:
        yield node.standing


def _steer(name: str, verb: NodeVerb, reason: str, settings: options.SettingsFile, as_json: bool) -> None:
    with connect(settings) as client:
        node = client.steer_node(the_node(client, name).name, verb, reason)
    if as_json:
        print_json(node)
        return
    answer = out_of_service(node_facts(node))
    back = f" → {answer.remedy}" if answer.remedy else ""
    out.say(f"{answer.sentence}{back}")

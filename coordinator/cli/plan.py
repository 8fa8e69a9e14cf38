"""`farm plan`: what a manifest will make, which cards can, in what time and for how much."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.cards import REFERENCE_CARDS, load_card
from common.errors import Invalid, Unavailable
from common.nodes import Card
from common.settings import load_settings
from coordinator.cli import options
from coordinator.cli.connection import connect, in_service
from coordinator.cli.plan_page import show_plan
from coordinator.cli.planning import REFERENCE_STATIONS, make_plan, read_manifest, station_of
from coordinator.cli.show import err, print_json
from coordinator.estimate import Station

CardNames = Annotated[
    list[str] | None,
    typer.Option(
        "--card",
        metavar="CARD",
        help="Plan for this card: gtx-1070, rtx-4090 or such, or a card file; several share the work.",
    ),
]
Farm = Annotated[
    bool,
    typer.Option("--farm", help="Plan for the nodes of the running farm, with what they were measured at."),
]


def plan_command(
    manifest: options.Manifest,
    card: CardNames = None,
    farm: Farm = False,
    cards: Annotated[
        bool, typer.Option("--cards", help="Add what every card makes of every kind of image.")
    ] = False,
    root: options.Root = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what a manifest will make, which cards can, how, in what time and for how much.

    Needs no farm: without --card or --farm it reckons with one usual card of every VRAM class.
    Exit codes: 2 the manifest is wrong, 3 some images fit no card, 4 over limits.max_cost.

    Examples: `farm plan personas.yaml` · `farm plan personas.yaml --card gtx-1070`
    """
    in_force = load_settings(settings)
    stations, together = _stations(card or [], farm, settings)
    draft = read_manifest(manifest, in_force, root)
    planned = make_plan(draft, stations=stations, together=together)
    if as_json:
        print_json(planned.report)
    else:
        show_plan(planned, cards=cards)
    unsubmittable = planned.report.unsubmittable()
    if unsubmittable is not None:
        err.say(str(unsubmittable), style="yellow")
    refusal = planned.report.refusal()
    if refusal is not None:
        raise refusal


def _stations(cards: list[str], farm: bool, settings: Path | None) -> tuple[tuple[Station, ...], bool]:
    if farm:
        with connect(settings) as client:
            nodes = [node for node in client.nodes() if in_service(node)]
        if not nodes:
            raise Unavailable(
                "no node of the farm is in service; `farm status` shows why, or plan without --farm"
            )
        return tuple(station_of(node) for node in nodes), True
    if cards:
        return tuple(Station(card=_card(name)) for name in cards), True
    return REFERENCE_STATIONS, False


def _card(name: str) -> Card:
    """A reference card by its name in small letters with hyphens, else the card of a file."""
    known = {card.name.lower().replace(" ", "-"): card for card in REFERENCE_CARDS.values()}
    if name.lower() in known:
        return known[name.lower()]
    if not Path(name).exists():
        raise Invalid(f"{name}: no card file, and no card that is known by name: {', '.join(known)}")
    return load_card(Path(name))

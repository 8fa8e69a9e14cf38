"""`farm plan`: what a manifest will make, which cards can, in what time and for how much."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.cards import load_card
from common.errors import Unavailable
from common.settings import load_settings
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.plan_tables import show_plan
from coordinator.cli.planning import REFERENCE_STATIONS, make_plan, station_of
from coordinator.cli.show import print_json
from coordinator.estimate import Station

Cards = Annotated[
    list[Path] | None,
    typer.Option(
        "--card",
        metavar="FILE",
        help="Plan for this card (manifests/cards has some); several share the work.",
    ),
]
Farm = Annotated[
    bool,
    typer.Option("--farm", help="Plan for the nodes of the running farm, with what they were measured at."),
]


def plan_command(
    manifest: options.Manifest,
    card: Cards = None,
    farm: Farm = False,
    root: options.Root = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what a manifest will make, which cards can, how, in what time and for how much.

    Needs no farm: without --card or --farm it reckons with one usual card of every VRAM class.
    Exit codes: 2 the manifest is wrong, 3 some images fit no card, 4 over limits.max_cost.

    Examples: `farm plan personas.yaml` · `farm plan personas.yaml --card manifests/cards/gtx-1070.yaml`
    """
    in_force = load_settings(settings)
    stations, together = _stations(card or [], farm, settings)
    planned = make_plan(manifest, in_force, root=root, stations=stations, together=together)
    if as_json:
        print_json(planned.report)
    else:
        show_plan(planned)
    refusal = planned.report.refusal()
    if refusal is not None:
        raise refusal


def _stations(cards: list[Path], farm: bool, settings: Path | None) -> tuple[tuple[Station, ...], bool]:
    if farm:
        with connect(settings) as client:
            nodes = [node for node in client.nodes() if node.state in ("ready", "busy")]
        if not nodes:
            raise Unavailable(
                "no node of the farm is in service; `farm status` shows why, or plan without --farm"
            )
        return tuple(station_of(node) for node in nodes), True
    if cards:
        return tuple(Station(card=load_card(path)) for path in cards), True
    return REFERENCE_STATIONS, False

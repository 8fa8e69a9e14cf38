"""`farm plan`: the images that a manifest describes, the cards that can render them, time and cost."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from common.catalog import Catalog
from common.errors import Invalid, Unavailable
from common.settings import load_settings
from common.shot import PlannedShot
from common.units import counted
from common.views import NodeView
from coordinator.cli import options
from coordinator.cli.connection import connect, owner_of_jobs
from coordinator.cli.deadline import deadline_at
from coordinator.cli.plan_page import show_plan
from coordinator.cli.plan_shots import ShownPlan, check_file, chosen, resolved, show_shots, write_shots
from coordinator.cli.planning import read_manifest
from coordinator.cli.show import err, out, print_json, whisper
from coordinator.estimate import Station
from coordinator.explain.fleet import in_service
from coordinator.simulate.fleet import named_card
from coordinator.submission.plan import REFERENCE_STATIONS, PlanReport, make_plan, station_of, with_readers

CardNames = Annotated[
    list[str] | None,
    typer.Option(
        "--card",
        metavar="CARD",
        help="Plan for this card (a name such as gtx-1070, or a card file); several cards share the work.",
    ),
]
Farm = Annotated[
    bool,
    typer.Option(
        "--farm",
        help="Plan for the nodes of the running farm, at their measured speeds, behind what waits there.",
    ),
]
Cards = Annotated[
    bool,
    typer.Option("--cards", help="Show recipe, memory, time and cost of each kind of image on each card."),
]
ShotsFile = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="Write all shots with their settings to FILE (.json or .csv)."
    ),
]
First = Annotated[int | None, typer.Option("--shots", metavar="N", min=1, help="Show the first N shots.")]
Spread = Annotated[
    int | None,
    typer.Option("--sample", metavar="N", min=1, help="Show N shots spread evenly over the manifest."),
]
By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="TIME",
        help="Say whether the running farm is done by TIME (18:00, or 2026-12-01 18:00), and the cheapest "
        "cards that would help if it is not. Implies --farm.",
    ),
]


def plan_command(
    manifest: options.Manifest,
    card: CardNames = None,
    farm: Farm = False,
    cards: Cards = False,
    file: ShotsFile = None,
    first: First = None,
    spread: Spread = None,
    names: Annotated[bool, typer.Option("--names", help="Show only the names of the images.")] = False,
    by: By = None,
    root: options.Root = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the images that a manifest describes, which cards can render them, and the time and cost.

    Works without a running farm: by default it plans for one reference card of each VRAM class.
    Exit codes: 2 invalid manifest, 3 some images fit no card, 4 over limits.max_cost.

    Examples: `farm plan personas.yaml --card gtx-1070` · `farm plan personas.yaml --out shots.csv`
    """
    if first is not None and spread is not None:
        raise Invalid("--shots and --sample exclude each other: pass only one")
    if file is not None:
        check_file(file)
    in_force = load_settings(settings)
    deadline = None if by is None else deadline_at(by, time.time())
    site = _site(card or [], farm or by is not None, settings)
    draft = read_manifest(manifest, in_force, root, site.catalog)
    planned = make_plan(draft, stations=site.stations, together=site.together)
    if site.nodes:
        planned = with_readers(planned, site.nodes)
        # It loads numpy, which a plan without a farm does not need.
        from coordinator.submission.forecast import with_forecast

        with connect(settings) as client:
            owner = owner_of_jobs(client, None)
            planned = with_forecast(planned, client, site.nodes, in_force, owner=owner, by=deadline)
    if file is not None:
        write_shots(planned.expansion, file)
    shots = chosen(planned.expansion, first, spread)
    listed = first is not None or spread is not None
    if as_json:
        print_json(_with_shots(planned.report, shots, listed, names))
    elif names:
        for planned_shot in shots:
            out.say(planned_shot.name)
    else:
        show_plan(planned, cards=cards, samples=not listed)
        show_shots(shots if listed else ())
    if file is not None:
        whisper(f"{counted(len(planned.expansion), 'shot')} in {file}")
    _say_obstacles(planned.report)


def _say_obstacles(report: PlanReport) -> None:
    """Say why it cannot be submitted as it is; raises what refuses it."""
    unsubmittable = report.unsubmittable()
    if unsubmittable is not None:
        err.say(str(unsubmittable), style="yellow")
    refusal = report.refusal()
    if refusal is not None:
        raise refusal


def _with_shots(report: PlanReport, shots: Iterable[PlannedShot], listed: bool, names: bool) -> PlanReport:
    """Returns the report with the requested shots or names."""
    if names:
        return ShownPlan(**dict(report), names=tuple(planned.name for planned in shots))
    if listed:
        return ShownPlan(**dict(report), shots=tuple(map(resolved, shots)))
    return report


@dataclass(frozen=True, slots=True)
class _Site:
    """What to plan for: cards, and whether they work together."""

    stations: tuple[Station, ...]
    together: bool = False
    #: Of a running farm: its catalog, and its nodes in service.
    catalog: Catalog | None = None
    nodes: tuple[NodeView, ...] = ()


def _site(cards: list[str], farm: bool, settings: Path | None) -> _Site:
    if farm:
        with connect(settings) as client:
            catalog = client.catalog()
            nodes = tuple(node for node in client.nodes() if in_service(node))
        if not nodes:
            raise Unavailable(
                "no node of the farm is in service; run `farm status` for the reason, or plan without --farm"
            )
        return _Site(tuple(map(station_of, nodes)), True, catalog, nodes)
    if cards:
        return _Site(tuple(Station(card=named_card(name)) for name in cards), True)
    return _Site(REFERENCE_STATIONS)

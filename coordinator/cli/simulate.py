"""`farm simulate`: how a fleet would render a manifest, by the planner that serves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from common.catalog import Catalog
from common.errors import FarmError, FitsNothing, Unavailable
from common.settings import load_settings
from common.terminal import styled
from common.units import counted, format_energy
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.gantt import check_chart, write_chart
from coordinator.cli.lettering import remedy
from coordinator.cli.planning import read_manifest
from coordinator.cli.show import duration, err, money, out, print_json, table, whisper
from coordinator.estimate import Station
from coordinator.estimate.kinds import count_kinds
from coordinator.explain.fleet import in_service
from coordinator.explain.wording import misfits
from coordinator.simulate.course import Course, course_of
from coordinator.simulate.fleet import FleetNode, added_cards, fleet_node, load_fleet
from coordinator.simulate.views import Simulated
from coordinator.simulate.workload import Standing, Workload
from coordinator.submission.plan import PlannedManifest, make_plan, misfit_words

Fleet = Annotated[
    Path | None,
    typer.Option(
        "--fleet",
        metavar="FILE",
        help="Simulate the cards of this fleet file, such as those in manifests/fleets/. Default: the nodes "
        "of the running farm.",
    ),
]
Added = Annotated[
    list[str] | None,
    typer.Option(
        "--add",
        metavar="CARD=N",
        help="Add N cards, such as rtx-3060=2, and compare with the fleet as it is. Repeat for other cards.",
    ),
]
Charts = Annotated[
    list[Path] | None,
    typer.Option(
        "--gantt",
        metavar="FILE",
        help="Write a chart of what each card does and when to FILE (.png or .html). Repeat for both.",
    ),
]


class SimulationReport(Simulated):
    """Printed by `farm simulate --json`."""

    manifest: str
    name: str
    #: The fleet file; empty for the running farm.
    fleet: str
    #: Images that no card of the fleet takes.
    unfit: int
    #: What the times rest on.
    basis: str
    #: Without the cards of `--add`; None without this option.
    seconds_before: float | None
    warnings: tuple[str, ...]


def simulate_command(
    manifest: options.Manifest,
    fleet: Fleet = None,
    add: Added = None,
    gantt: Charts = None,
    root: options.Root = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Show how a fleet would render a manifest: time, cost, energy, and what each kind of card does.

    The planner of the farm gives work to the described cards on a simulated clock. Works without a running
    farm if you pass --fleet. Exit codes: 2 invalid manifest or fleet, 3 some images fit no card.

    Examples: `farm simulate tea.yaml --fleet studio.yaml` · `farm simulate tea.yaml --add rtx-3060=2`
    """
    for file in gantt or ():
        check_chart(file)
    in_force = load_settings(settings)
    nodes, catalog = (load_fleet(fleet), None) if fleet is not None else _present(settings)
    more = list(nodes)
    for given in add or ():
        more += added_cards(given, more)
    draft = read_manifest(manifest, in_force, root, catalog)
    planned = make_plan(draft, stations=_stations(more))
    kinds, _ = count_kinds(planned.expansion)
    standing = Standing(lane=draft.parsed.manifest.lane, eco=draft.parsed.manifest.eco)
    course = course_of(kinds, more, draft.catalog, in_force, standing)
    before = course_of(kinds, nodes, draft.catalog, in_force, standing) if add else None
    report = _report(planned, course, fleet, before)
    if as_json:
        print_json(report)
    else:
        _show(report)
    for file in gantt or ():
        _draw(report, more, file)
    if report.unfit:
        raise _refusal(course.work, report)


def _draw(report: SimulationReport, nodes: Sequence[FleetNode], file: Path) -> None:
    title = f"{report.name}: {counted(report.images, 'image')} on {counted(report.nodes, 'card')}"
    missing = write_chart(report, nodes, file, title)
    whisper(f"chart in {file}")
    if missing:
        whisper(f"no font here has {missing}; for these, install {remedy(missing)}")


def _present(settings: Path | None) -> tuple[list[FleetNode], Catalog]:
    """Returns the nodes in service of the running farm, and its catalog."""
    try:
        with connect(settings) as client:
            catalog = client.catalog()
            nodes = [fleet_node(node) for node in client.nodes() if in_service(node)]
    except Unavailable as error:
        raise Unavailable(f"{error}; or describe the cards in a file and pass it as --fleet") from None
    if not nodes:
        raise Unavailable(
            "no node of the farm is in service; run `farm status` for the reason, or pass --fleet FILE"
        )
    return nodes, catalog


def _stations(nodes: Sequence[FleetNode]) -> list[Station]:
    """Returns each kind of card once."""
    kinds = {(node.card, node.terms, tuple(sorted(node.speeds.items()))): node for node in nodes}
    return [Station(card=node.card, terms=node.terms, speeds=node.speeds) for node in kinds.values()]


def _report(
    planned: PlannedManifest, course: Course, fleet: Path | None, before: Course | None
) -> SimulationReport:
    plan = planned.report
    return SimulationReport(
        **dict(course.result),
        manifest=plan.manifest,
        name=plan.name,
        fleet=str(fleet or ""),
        unfit=sum(course.work.misfits.values()),
        basis=plan.plan.basis,
        seconds_before=before.result.seconds if before and not before.work.misfits else None,
        warnings=plan.warnings,
    )


def _refusal(work: Workload, report: SimulationReport) -> FarmError:
    images: Counter[str] = Counter()
    for (model, reason), number in work.misfits.items():
        images[misfit_words(model, reason)] += number
    reasons = [f"{counted(misfit.shots, 'image')}: {misfit.reason}" for misfit in misfits(images)]
    return FitsNothing("\n".join([f"{counted(report.unfit, 'image')} fit no card of this fleet:", *reasons]))


def _show(report: SimulationReport) -> None:
    cards = counted(report.nodes, "card")
    out.print(styled((report.name, "bold"), f": {counted(report.images + report.unfit, 'image')} on {cards}"))
    out.print("", _totals(report), "", _cards(report))
    for warning in report.warnings:
        err.say(f"warning: {warning}", style="yellow")


def _totals(report: SimulationReport) -> Table:
    made = Table.grid(padding=(0, 2))
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    if not report.images:
        made.add_row("time, cost", "none of the images fits a card of this fleet")
        return made
    without = f"; excluding the {report.unfit:,} that fit no card" if report.unfit else ""
    made.add_row("time", f"{duration(report.seconds)}{_comparison(report)}{without}")
    made.add_row("bound", f"{duration(report.bound_s)}: no order of the work on these cards takes less")
    each = money(1000 * report.cost / report.images, report.currency)
    volunteers = (
        f"; volunteers pay {money(report.volunteered, report.currency)} for electricity"
        if report.volunteered
        else ""
    )
    made.add_row("cost", f"{money(report.cost, report.currency)} ({each} per 1,000 images){volunteers}")
    each = format_energy(report.joules / report.images)
    made.add_row("energy", f"{format_energy(report.joules)} ({each} per image), with their machines")
    batches = "1 batch" if report.batches == 1 else f"{report.batches:,} batches"
    made.add_row("loads", f"{counted(report.loads, 'model load')}, {batches}")
    made.add_row("basis", styled(report.basis or "-"))
    return made


def _comparison(report: SimulationReport) -> str:
    if report.seconds_before is None:
        return ""
    return f", instead of {duration(report.seconds_before)} without the added cards"


def _cards(report: SimulationReport) -> Table:
    rows = []
    for use in report.cards:
        all_s = report.seconds * use.nodes
        shares = (use.rendering_s, use.loading_s, all_s - use.rendering_s - use.loading_s)
        rows.append(
            (
                use.card,
                f"{use.vram_class} GB",
                f"{use.nodes:,}",
                f"{use.images:,}",
                *(f"{part / all_s:.0%}" if all_s else "-" for part in shares),
                f"{use.loads:,}",
                format_energy(use.joules),
                money(use.cost, report.currency),
            )
        )
    numbers = ("cards", "images", "rendering", "loading", "idle", "loads", "energy", "cost")
    return table("card", "class", *numbers, rows=rows, right=numbers)

"""`farm plan`: what a manifest will make, which cards can, in what time and for how much."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from common.cards import load_card
from common.catalog import Recipe
from common.errors import Unavailable
from common.settings import Money, load_settings
from common.units import format_gib, format_size
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.planning import (
    REFERENCE_STATIONS,
    PlannedManifest,
    PlanReport,
    make_plan,
    station_of,
)
from coordinator.cli.show import counted, duration, err, money, out, print_json, table
from coordinator.estimate import REFERENCE, Line, Plan, Range, Station, Take

#: Rows of a table before the rest is only counted.
_MOST_ROWS = 40

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


def show_plan(planned: PlannedManifest) -> None:
    """Print the plan for a person; warnings go to standard error."""
    report = planned.report
    out.print(f"[bold]{report.name}[/]: {counted(report.plan.images, 'image')}{_duplicates(report.plan)}\n")
    out.print(groups_table(report), "")
    out.print(lines_table(report.plan), "")
    out.print(takes_table(report.plan), "")
    for recipe in _recipes(planned):
        out.print(f"  {recipe.name}: {recipe_words(recipe)}", style="dim")
    out.print(f"\n{totals_sentence(report.plan)}")
    out.print(rates_sentence(report.money), style="dim")
    for sample in report.samples:
        out.print(f"\n{sample.name}", style="bold", markup=False)
        out.print(f"  {sample.prompt}", markup=False)
    for warning in report.warnings:
        err.print(f"warning: {warning}", style="yellow", markup=False)
    if report.unidentified:
        names = ", ".join(report.unidentified)
        err.print(
            f"identity unknown: {names}. The catalog does not fix these files yet, so the manifest can be "
            "planned and not submitted (docs/how-to/add-a-model.md)",
            style="yellow",
            markup=False,
        )


def groups_table(report: PlanReport) -> Table:
    """Combinations × variants × seeds of each group."""
    rows = [
        (
            group.name,
            *(f"{number:,}" for number in (group.combinations, group.variants, group.seeds, group.shots)),
        )
        for group in report.groups
    ]
    headings = ("group", "combinations", "× variants", "× seeds", "= shots")
    return table(*headings, rows=rows, right=headings[1:])


def lines_table(plan: Plan) -> Table:
    """What is rendered, and the smallest class that takes it."""
    rows = [
        (
            line.group,
            line.model,
            format_size(line.width, line.height),
            _steps(line),
            _loras(line),
            f"{line.images:,}",
            *_smallest(line),
        )
        for line in plan.lines[:_MOST_ROWS]
    ]
    if len(plan.lines) > _MOST_ROWS:
        rest = plan.lines[_MOST_ROWS:]
        rows.append(
            (f"{len(rest)} more", "", "", "", "", f"{sum(line.images for line in rest):,}", "", "", "")
        )
    headings = ("group", "model", "size", "steps", "LoRAs", "images", "from class", "recipe", "peak")
    return table(*headings, rows=rows, right=("steps", "images", "peak"))


def takes_table(plan: Plan) -> Table:
    """Which card takes which kind of image: how, at what peak, in what time, or why not."""
    kinds = {
        (line.model, line.width, line.height, line.loras, tuple(take.seconds for take in line.takes)): line
        for line in plan.lines
    }
    rows = []
    for line in list(kinds.values())[:_MOST_ROWS]:
        what = f"{line.model} {format_size(line.width, line.height)}"
        for number, take in enumerate(line.takes):
            rows.append(
                ("" if number else what, f"{take.vram_class} GB", take.card, *_taken(take, plan.currency))
            )
    headings = (
        "image",
        "class",
        "card",
        "takes it",
        "predicted peak",
        "pass",
        "time an image",
        "cost an image",
    )
    return table(*headings, rows=rows, right=("pass", "time an image", "cost an image"))


def totals_sentence(plan: Plan) -> str:
    if plan.seconds is None or plan.cost is None or plan.volunteered is None:
        return "time and cost: nothing was measured and the catalog has no reference figure for these models"
    known = plan.seconds.low == plan.seconds.high
    time = _span(plan.seconds, duration)
    cost = _span(plan.cost, lambda amount: money(amount, plan.currency))
    who = "all these cards together" if known else "one card, from the best to the slowest that takes them"
    volunteers = _span(plan.volunteered, lambda amount: money(amount, plan.currency))
    beside = f"; volunteers pay {volunteers} for electricity" if plan.volunteered.high else ""
    caution = ", good to a factor of two" if REFERENCE in plan.basis else ""
    return f"{counted(plan.images, 'image')}: {time} on {who}, {cost}{beside} ({plan.basis}{caution})"


def rates_sentence(rates: Money) -> str:
    """Currency, tariff, card and host rates that the cost rests on."""
    cards = ", ".join(f"{vram} GB {rate:g}" for vram, rate in sorted(rates.card_per_hour.items()))
    rents = ", ".join(f"{vram} GB {rate:g}" for vram, rate in sorted(rates.rent_per_hour.items()))
    return (
        f"rates in {rates.currency}: {rates.tariff_per_kwh:g} per kWh, host {rates.host_watts:g} W, "
        f"own card per hour: {cards or 'none'}, rented card per hour: {rents or 'none'} (settings: money)"
    )


def recipe_words(recipe: Recipe) -> str:
    """What a recipe does, for people."""
    formats = ", ".join(f"{part} {kind}" for part, kind in recipe.weights.items())
    words = {
        "text_encoder_first": "text is encoded first, then the encoder leaves the card",
        "text_encoder_on_cpu": "text is encoded on the CPU",
        "vae_slicing": "decoded one by one",
        "vae_tiling": "in tiles",
    }
    placed = ", ".join(words[word] for word in recipe.placement) or "everything stays on the card"
    return f"computes in {recipe.compute_dtype}; {formats}; {placed}"


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


def _recipes(planned: PlannedManifest) -> list[Recipe]:
    used = {
        (line.model, take.recipe) for line in planned.report.plan.lines for take in line.takes if take.recipe
    }
    recipes = {name: planned.catalog.models[model].recipe(name) for model, name in sorted(used)}
    return list(recipes.values())


def _duplicates(plan: Plan) -> str:
    if not plan.duplicates:
        return ""
    return f" ({counted(plan.images + plan.duplicates, 'shot')} − {counted(plan.duplicates, 'duplicate')})"


def _steps(line: Line) -> str:
    return str(line.steps_low) if line.steps_low == line.steps_high else f"{line.steps_low}–{line.steps_high}"


def _loras(line: Line) -> str:
    if not line.loras:
        return ""
    return str(line.loras) if line.lora_sets == 1 else f"{line.loras} ({line.lora_sets} sets)"


def _smallest(line: Line) -> tuple[str, str, str]:
    for take in sorted(line.takes, key=lambda take: take.vram_class):
        if take.recipe and take.peak_bytes:
            return f"{take.vram_class} GB", take.recipe, format_gib(take.peak_bytes)
    return "none", line.reason, ""


def _taken(take: Take, currency: str) -> tuple[str, str, str, str, str]:
    if not (take.recipe and take.peak_bytes and take.pass_peak_bytes):
        return f"no: {take.reason}", "", "", "", ""
    peak = format_gib(take.peak_bytes)
    if take.pass_size and take.pass_size > 1:
        peak += f", {format_gib(take.pass_peak_bytes)} in a pass of {take.pass_size}"
    return take.recipe, peak, str(take.pass_size), duration_of_image(take.seconds), money(take.cost, currency)


def duration_of_image(seconds: float | None) -> str:
    return f"{seconds:.2f} s" if seconds is not None and seconds < 10 else duration(seconds)


def _span(span: Range, show: Callable[[float], str]) -> str:
    low, high = show(span.low), show(span.high)
    return low if low == high else f"{low} to {high}"

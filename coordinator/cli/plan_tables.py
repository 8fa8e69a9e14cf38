"""A plan on the screen: tables of what is made, which cards take it, time, money, and samples."""

from __future__ import annotations

from collections.abc import Callable

from rich.table import Table

from common.catalog import Recipe
from common.settings import Money
from common.units import format_gib, format_size
from coordinator.cli.planning import PlannedManifest, PlanReport
from coordinator.cli.show import counted, duration, err, money, out, table
from coordinator.estimate import REFERENCE, Line, Plan, Range, Take

#: Rows of a table before the rest is only counted.
_MOST_ROWS = 40


def show_plan(planned: PlannedManifest) -> None:
    """Print the plan for a person; warnings go to standard error."""
    report = planned.report
    out.print(f"[bold]{report.name}[/]: {counted(report.plan.images, 'image')}{_duplicates(report.plan)}\n")
    out.print(groups_table(report), "")
    out.print(lines_table(report.plan), "")
    for line in _kinds(report.plan):
        out.print(f"{line.model} {format_size(line.width, line.height)}", style="bold")
        out.print(takes_table(line, report.plan.currency), "")
    for recipe in _recipes(planned):
        out.print(f"{recipe.name}: {recipe_words(recipe)}", style="dim")
    for reason in refusals(report.plan):
        out.print(f"no: {reason}", style="dim", markup=False)
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


def takes_table(line: Line, currency: str) -> Table:
    """Which card takes an image of the line: how, at what peak, in what time, for how much."""
    rows = [(f"{take.vram_class} GB", take.card, *_taken(take, currency)) for take in line.takes]
    headings = ("class", "card", "takes it", "peak", "images a pass", "an image takes", "and costs")
    return table(*headings, rows=rows, right=("peak", "an image takes", "and costs"))


def refusals(plan: Plan) -> list[str]:
    """Why cards do not take images, each reason once."""
    reasons = (f"{line.model}: {take.reason}" for line in _kinds(plan) for take in line.takes if take.reason)
    return list(dict.fromkeys(reasons))


def totals_sentence(plan: Plan) -> str:
    if plan.seconds is None or plan.cost is None or plan.volunteered is None:
        return "time and cost: nothing was measured and the catalog has no reference figure for these models"
    time = _span(plan.seconds, duration)
    cost = _span(plan.cost, lambda amount: money(amount, plan.currency))
    who = (
        "all these cards together"
        if plan.together
        else "one card, from the best to the slowest that takes them"
    )
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


def _kinds(plan: Plan) -> list[Line]:
    """One line for each kind of image, whatever the group."""
    kinds = {
        (line.model, line.width, line.height, line.loras, tuple(take.seconds for take in line.takes)): line
        for line in plan.lines
    }
    return list(kinds.values())[:_MOST_ROWS]


def _taken(take: Take, currency: str) -> tuple[str, ...]:
    if not (take.recipe and take.peak_bytes and take.pass_peak_bytes):
        return "no", "", "", "", ""
    pass_peak = f" at {format_gib(take.pass_peak_bytes)}" if take.pass_size != 1 else ""
    return (
        take.recipe,
        format_gib(take.peak_bytes),
        f"{take.pass_size}{pass_peak}",
        _image_time(take.seconds),
        money(take.cost, currency),
    )


def _image_time(seconds: float | None) -> str:
    return f"{seconds:.2f} s" if seconds is not None and seconds < 10 else duration(seconds)


def _span(span: Range, show: Callable[[float], str]) -> str:
    low, high = show(span.low), show(span.high)
    return low if low == high else f"{low} to {high}"

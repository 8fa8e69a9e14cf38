"""`farm plan --cards`: recipe, peak memory, time and cost of each kind of image on each card."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table

from common.catalog import Recipe
from common.terminal import styled
from common.units import counted, format_gib, format_size
from coordinator.cli.show import duration, money, table
from coordinator.estimate import Plan, PlanLine, Take
from coordinator.submission.plan import PlannedManifest


def card_tables(planned: PlannedManifest) -> Iterator[RenderableType]:
    """Yields a table for each kind of image, and an explanation of the recipes."""
    plan = planned.report.plan
    for line in _kinds(plan):
        loras = f", {counted(line.loras, 'LoRA')}" if line.loras else ""
        steps = f", {counted(line.steps_high, 'step')}"
        yield styled(f"{line.model} {line_size(line)}{steps}{loras}", style="bold")
        yield takes_table(line, plan.currency)
        for take in line.takes:
            if take.origin:
                yield styled(f"{take.card}: {basis_words(take)}", style="dim")
        yield ""
    for recipe in _recipes(planned):
        yield styled(f"{recipe.name}: {recipe_words(recipe)}", style="dim")


def line_size(line: PlanLine) -> str:
    """Returns the size as rendered, and the one to which an upscaler enlarges it."""
    size = format_size(line.width, line.height)
    final = format_size(line.final_width, line.final_height)
    return f"{size} → {final} ({line.upscaler})" if line.upscaler else size


def takes_table(line: PlanLine, currency: str) -> Table:
    rows = [(f"{take.vram_class} GB", take.card, *_taken(take, currency)) for take in line.takes]
    headings = ("class", "card", "recipe", "peak", "images per pass", "time per image", "cost per 1,000")
    return table(*headings, rows=rows, right=("peak", "time per image", "cost per 1,000"))


def basis_words(take: Take) -> str:
    """Returns what the time of a card rests on."""
    if not take.origin:
        return take.basis
    words = f"{take.basis} {'from' if take.basis == 'interpolated' else 'for'} {' and '.join(take.origin)}"
    if take.published is None:
        return words
    low, high = duration(take.published.low), duration(take.published.high)
    return f"{words}: {low if low == high else f'{low} to {high}'} ({take.source})"


def recipe_words(recipe: Recipe) -> str:
    """Describes a recipe for people."""
    formats = ", ".join(f"{part} {kind}" for part, kind in recipe.weights.items())
    words = {
        "text_encoder_first": "encodes text first, then unloads the text encoder",
        "text_encoder_on_cpu": "encodes text on the CPU",
        "vae_slicing": "decodes one image at a time",
        "vae_tiling": "decodes in tiles",
    }
    placed = ", ".join(words[word] for word in recipe.placement) or "keeps everything on the card"
    return f"computes in {recipe.compute_dtype}; {formats}; {placed}"


def _kinds(plan: Plan) -> list[PlanLine]:
    """Returns one line for each kind of image, regardless of its group."""
    kinds = {
        (line.model, line_size(line), line.loras, tuple(take.seconds for take in line.takes)): line
        for line in plan.lines
    }
    return list(kinds.values())


def _recipes(planned: PlannedManifest) -> list[Recipe]:
    used = {
        (line.model, take.recipe) for line in planned.report.plan.lines for take in line.takes if take.recipe
    }
    recipes = {name: planned.draft.catalog.models[model].recipe(name) for model, name in sorted(used)}
    return list(recipes.values())


def _taken(take: Take, currency: str) -> tuple[str, ...]:
    if not (take.recipe and take.peak_bytes and take.pass_peak_bytes):
        return "-", "", "", "", ""
    pass_peak = f" at {format_gib(take.pass_peak_bytes)}" if take.pass_size != 1 else ""
    return (
        take.recipe,
        format_gib(take.peak_bytes),
        f"{take.pass_size}{pass_peak}",
        f"{take.seconds:.2f} s" if take.seconds is not None and take.seconds < 10 else duration(take.seconds),
        money(None if take.cost is None else 1000 * take.cost, currency),
    )

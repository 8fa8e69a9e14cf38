"""A plan on one page: images, time, cost, suitable cards and sample prompts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from itertools import groupby

from rich.console import RenderableType
from rich.table import Table

from common.settings import Money
from common.terminal import styled
from common.units import counted, format_gib
from coordinator.cli.card_tables import card_tables, line_size
from coordinator.cli.deadline import deadline_words, done_words
from coordinator.cli.show import duration, err, money, out, table
from coordinator.estimate import Plan, PlanLine, Range
from coordinator.estimate.views import Quantity
from coordinator.submission.plan import GroupView, PlannedManifest, PlanReport, Readers, misfit_words

#: Times that differ by this factor are the same to a reader.
_ALIKE = 1.25
#: Maximum number of table rows; further rows are only counted.
_MOST_ROWS = 20
#: Nodes that are named, not only counted.
_FEW_NODES = 8


def show_plan(planned: PlannedManifest, *, cards: bool = False, samples: bool = True) -> None:
    """Print the plan, and with `cards` the details of every card; warnings go to standard error."""
    report = planned.report
    for block in _made(report):
        out.print(block)
    out.print("", totals_table(report), "")
    out.print("seconds per image, by VRAM class in GB (-: does not fit)", style="dim")
    out.print(fits_table(report.plan), "")
    for block in card_tables(planned) if cards else [recipes_table(report.plan)]:
        out.print(block)
    for note in (*misfits(report.plan), *other_times(report.plan)):
        out.print(styled(note), style="dim")
    if samples:
        out.print("")
        out.print(table("sample", "prompt", rows=[(each.name, each.prompt) for each in report.samples]))
    for warning in report.warnings:
        err.say(f"warning: {warning}", style="yellow")


def _made(report: PlanReport) -> list[RenderableType]:
    """Returns the number of images and the factors of each group."""
    plan, groups = report.plan, report.groups
    product = [_product(groups[0])] if len(groups) == 1 else []
    doubles = [f"{counted(plan.duplicates, 'duplicate')} removed"] if plan.duplicates else []
    factors = f" ({', '.join([*product, *doubles])})" if product or doubles else ""
    heading = styled((report.name, "bold"), f": {counted(plan.images, 'image')}{factors}")
    files = _files(groups)
    if product:
        return [heading, *files]
    rows = [(group.name, f"{group.shots:,}", f"= {_product(group)}") for group in groups]
    return [heading, "", table("group", "images", "", rows=rows, right=("images",)), *files]


def _files(groups: Sequence[GroupView]) -> list[RenderableType]:
    """Returns the number of files and their sizes, if images are delivered in sizes of their own."""
    if not any(group.files for group in groups):
        return []
    number = sum(group.shots * max(1, len(group.files)) for group in groups)
    sizes = dict.fromkeys(words for group in groups for words in group.files or ("as rendered",))
    return [styled(f"{counted(number, 'file')}: {', '.join(sizes)}")]


def _product(group: GroupView) -> str:
    exact = group.combinations * group.variants * group.seeds == group.shots
    factors = (
        counted(group.combinations, "combination"),
        ("" if exact else "up to ") + counted(group.variants, "variant") if group.variants > 1 else "",
        counted(group.seeds, "seed") if group.seeds > 1 else "",
    )
    return " × ".join(filter(None, factors))


def totals_table(report: PlanReport) -> Table:
    """Returns time and cost, and the data on which they are based."""
    plan, forecast = report.plan, report.forecast
    made = Table.grid(padding=(0, 2))
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    if plan.unfit == plan.images:
        made.add_row("time, cost", "none of the images fits a card")
        return made
    if plan.seconds is None or plan.loading is None or plan.cost is None or plan.volunteered is None:
        made.add_row("time, cost", "unknown: no measurements, and the catalog has no speed for these models")
        return made
    models = len({line.model for line in plan.lines if line.vram_class})
    made.add_row("time", _time(plan, plan.seconds, plan.loading, models))
    if forecast is not None:
        made.add_row("done", done_words(forecast))
        if forecast.deadline is not None:
            made.add_row("deadline", deadline_words(forecast, plan.currency))
    elif report.no_forecast:
        made.add_row("done", styled(f"unknown, so the time leaves out other jobs: {report.no_forecast}"))
    thousand = Range[Decimal](
        low=plan.cost.low * 1000 / max(plan.images, 1), high=plan.cost.high * 1000 / max(plan.images, 1)
    )
    each = f" ({_amount(thousand, plan.currency)} per 1,000 images)" if plan.cost.high else ""
    beside = _amount(plan.volunteered, plan.currency)
    volunteers = f"; volunteers pay {beside} for electricity" if plan.volunteered.high else ""
    made.add_row("cost", f"{_amount(plan.cost, plan.currency)}{each}{volunteers}")
    made.add_row("basis", _basis(plan))
    made.add_row("licence", styled(report.license.words))
    made.add_row("prompts", styled(readers_words(report.readers)))
    made.add_row("rates", rates_words(plan, report.money), style="dim")
    return made


def readers_words(readers: Readers) -> str:
    """Returns whose nodes may see the prompts, and how many do."""
    kind = {"sfw": ", SFW", "any": ", any content", None: ""}[readers.content]
    said = f"lane {readers.lane} ({readers.privacy}{kind}): seen by {readers.may}"
    if readers.nodes is None:
        return said
    volunteers = f", {counted(readers.volunteers, 'volunteer')} among them" if readers.volunteers else ""
    names = f": {', '.join(readers.nodes)}" if 0 < len(readers.nodes) <= _FEW_NODES else ""
    return f"{said}; now {counted(len(readers.nodes), 'node')}{volunteers}{names}"


def _basis(plan: Plan) -> str:
    detailed = any(take.origin for line in plan.lines for take in line.takes)
    return f"{plan.basis} (--cards: for each card)" if detailed else plan.basis or "-"


def _time(plan: Plan, seconds: Range[float], loading: Range[float], models: int) -> str:
    loads = f", incl. {_span(loading, duration)} loading {counted(models, 'model')}"
    loads += f"; excluding the {plan.unfit:,} that fit no card" if plan.unfit else ""
    low, high = duration(seconds.low), duration(seconds.high)
    if plan.together:
        return f"{low} on all cards together{loads}"
    if low == high:
        return f"{low} on one card{loads}"
    return f"{low} (fastest card for each line) to {high} (slowest){loads}"


def rates_words(plan: Plan, rates: Money) -> str:
    """Returns the rates behind the cost: currency, tariff, host power, hourly rates of suitable classes."""
    used = {take.vram_class for line in plan.lines for take in line.takes if take.recipe}
    owned = {vram: rates.card_hour(vram) for vram in rates.card_per_hour | rates.card_prices}
    tables = {"owned": owned, "rented": rates.rent_per_hour}
    tariff = f"{rates.tariff():.3g} {rates.currency} per kWh{' on average' if rates.tariffs else ''}"
    cards = [
        f"; {whose} card per hour: "
        + ", ".join(f"{vram} GB {rate:g}" for vram, rate in sorted(hourly.items()) if vram in used)
        for whose, hourly in tables.items()
        if used & hourly.keys()
    ]
    return f"{tariff}, host {rates.host_watts:g} W{''.join(cards)} (settings: money)"


def fits_table(plan: Plan) -> Table:
    """Returns what is rendered, with seconds per image by VRAM class. Equal classes share a column."""
    shown, rest = plan.lines[:_MOST_ROWS], plan.lines[_MOST_ROWS:]
    classes = sorted({take.vram_class for line in plan.lines for take in line.takes})
    columns = {vram: tuple(_seconds(line, vram) for line in shown) for vram in classes}
    alike = [(list(members), cells) for cells, members in groupby(classes, key=columns.__getitem__)]
    spans = [f"{span[0]}" if len(span) == 1 else f"{span[0]}-{span[-1]}" for span, _ in alike]
    several = len({line.group for line in plan.lines}) > 1
    rows = [
        (
            line.group if several else "",
            line.model,
            line_size(line),
            _steps(line),
            _loras(line),
            f"{line.images:,}",
            *(cells[number] for _, cells in alike),
        )
        for number, line in enumerate(shown)
    ]
    if rest:
        more = f"{len(rest)} more", "", "", "", f"{sum(line.images for line in rest):,}"
        rows.append(("", *more, *("" for _ in alike)))
    headings = ("group", "model", "size", "steps", "LoRAs", "images", *spans)
    return table(*headings, rows=rows, right=("steps", "images", *spans))


def recipes_table(plan: Plan) -> Table:
    """Returns recipes and largest peaks of each model; each entry applies up to the next listed class."""
    rows = []
    for model in dict.fromkeys(line.model for line in plan.lines if line.vram_class):
        peaks: dict[int, dict[str, int]] = {}
        for take in (take for line in plan.lines if line.model == model for take in line.takes):
            if take.recipe and take.peak_bytes:
                held = peaks.setdefault(take.vram_class, {})
                held[take.recipe] = max(take.peak_bytes, held.get(take.recipe, 0))
        spans = [list(span) for _, span in groupby(sorted(peaks), key=lambda vram: sorted(peaks[vram]))]
        held_from = (f"{span[0]} GB {_held([peaks[vram] for vram in span])}" for span in spans)
        rows.append((model, ", ".join(held_from)))
    return table("model", "from class: recipe, predicted peak", rows=rows)


def _held(peaks: list[dict[str, int]]) -> str:
    """Lists recipes with their largest peak in these classes."""
    return " or ".join(f"{recipe} {format_gib(max(each[recipe] for each in peaks))}" for recipe in peaks[0])


def misfits(plan: Plan) -> list[str]:
    """Returns which classes cannot render the most demanding images of each model, and why.

    The reason is that of the largest such class.
    Images that fit no card are not included; `PlanReport.refusal` explains them.
    """
    fitting = [line for line in plan.lines if line.vram_class]
    reasons = []
    for model in dict.fromkeys(line.model for line in fitting):
        line = max((line for line in fitting if line.model == model), key=lambda line: len(_unfit(line)))
        if unfit := _unfit(line):
            reasons.append(f"{_where(line, unfit)}: {misfit_words(model, unfit[max(unfit)])}")
    return reasons


def other_times(plan: Plan) -> list[str]:
    """Returns planned times that others do not confirm, one for each card and publication."""
    found: dict[tuple[str, str], str] = {}
    for line in plan.lines:
        for take in line.takes:
            if take.published and take.seconds and not _within(take.seconds, take.published):
                published = f"published are {_span(take.published, duration)} ({take.source})"
                said = f"{line.model} on {take.card}: planned are {duration(take.seconds)}, {published}"
                found.setdefault((take.card, take.source), said)
    return list(found.values())


def _within(seconds: float, span: Range[float]) -> bool:
    """Whether seconds differ from a published range by less than one can read from it."""
    return span.low / _ALIKE <= seconds <= span.high * _ALIKE


def _unfit(line: PlanLine) -> dict[int, str]:
    """Returns the VRAM classes in which no card can render a line, each with the reason."""
    fit = {take.vram_class for take in line.takes if take.recipe}
    return {take.vram_class: take.reason for take in line.takes if take.vram_class not in fit}


def _where(line: PlanLine, unfit: Collection[int]) -> str:
    if line.vram_class and max(unfit) < line.vram_class:
        return f"not below {line.vram_class} GB"
    return f"not on {', '.join(map(str, sorted(unfit)))} GB"


def _seconds(line: PlanLine, vram_class: int) -> str:
    """Returns the range of seconds on cards of the class, from the fastest to the slowest."""
    takes = [take for take in line.takes if take.vram_class == vram_class and take.recipe]
    known = [take.seconds for take in takes if take.seconds is not None]
    if not known:
        return "fits" if takes else "-"
    return _span(Range[float](low=min(known), high=max(known)), _brief, "-")


def _brief(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds < 1 else f"{seconds:.1f}" if seconds < 10 else f"{seconds:,.0f}"


def _steps(line: PlanLine) -> str:
    return str(line.steps_low) if line.steps_low == line.steps_high else f"{line.steps_low}-{line.steps_high}"


def _loras(line: PlanLine) -> str:
    if not line.loras:
        return ""
    return str(line.loras) if line.lora_sets == 1 else f"{line.loras} ({line.lora_sets} sets)"


def _amount(span: Range[Decimal], currency: str) -> str:
    """
    >>> _amount(Range[Decimal](low=Decimal("0.5"), high=Decimal(2)), "EUR")
    '0.500 to 2.00 EUR'
    """
    return f"{_span(span, lambda amount: money(amount, '').strip())} {currency}"


def _span(span: Range[Quantity], show: Callable[[Quantity], str], word: str = " to ") -> str:
    low, high = show(span.low), show(span.high)
    return low if low == high else f"{low}{word}{high}"

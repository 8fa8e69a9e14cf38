"""`farm cost`, the bill of a month or a job, and `farm thanks`, what volunteers gave."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, NamedTuple

import typer
from rich.table import Table

from common.bill import MONTH, Bill, BillLine, ReferencePrice, Thanks
from common.errors import Invalid
from common.units import JOULES_PER_KWH, counted, format_energy
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.names import the_job
from coordinator.cli.show import duration, money, out, print_json, table

#: Classic figures for an image, in cents: from a hosted service, and from one's own card. They have no
#: source; prices of hosted services for the same model are in `common/reference_prices.yaml`, with theirs.
CLASSIC_CENTS = (25, 3)

#: What each use is.
_USES = {
    "image": "images",
    "failed": "failed attempts",
    "cancelled": "cancelled attempts",
    "duplicate": "slower duplicates",
    "load": "loading models",
    "lost": "lost work",
    "verification": "checking images of volunteers",
    "idle": "idle nodes",
    "removed": "removed by retention",
}
#: What each component of a cost is.
_COMPONENTS = {
    "electricity": "electricity of cards and machines",
    "hours": "hours of cards, owned or rented",
    "storage": "storage and traffic",
}


def month_of(given: str) -> str:
    """Returns a month such as `2026-11`. Raises BadParameter otherwise."""
    if not re.fullmatch(MONTH, given):
        raise typer.BadParameter(f"`{given}` is not a month; write one such as 2026-11")
    return given


_Month = Annotated[
    str | None,
    typer.Option(
        "--month",
        metavar="YYYY-MM",
        parser=month_of,
        help="Month in UTC, such as 2026-11. Default: the present one.",
    ),
]
_Owner = Annotated[
    str | None,
    typer.Option("--owner", metavar="NAME", parser=options.owner, help="Only what this owner's jobs cost."),
]
_Volunteer = Annotated[
    str | None,
    typer.Option("--owner", metavar="NAME", parser=options.owner, help="Only the nodes of this owner."),
]


def cost_command(
    job: options.AJob = None,
    owner: _Owner = None,
    month: _Month = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the lines of the bill as CSV.")] = False,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what a job or a month has cost: by use, model and class, node and owner; per image and kept image.

    Failed attempts, loading, lost work and, in a month, idle nodes are included. A key with the scope `read`
    shows its own owner only.

    Example: `farm cost --month 2026-11 --csv > bill.csv`
    """
    if job is not None and (owner or month):
        told = f"--owner {owner}" if owner else f"--month {month}"
        raise Invalid(f"a job has one bill: leave out {told}")
    with connect(settings) as client:
        bill = client.costs(month, owner) if job is None else client.bill(the_job(client, job).id)
    if as_json:
        print_json(bill)
    elif as_csv:
        _print_csv(bill)
    elif not bill.lines:
        out.say(f"no costs in {bill.subject}")
    else:
        _show(bill)


def thanks_command(
    owner: _Volunteer = None,
    month: _Month = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what the cards of volunteers did in a month, and what their electricity cost them, by owner.

    Example: `farm thanks --month 2026-11`
    """
    with connect(settings) as client:
        thanks = client.thanks(month, owner)
    if as_json:
        print_json(thanks)
    elif not thanks.volunteers:
        out.say(f"no volunteer rendered in {thanks.month}")
    else:
        out.print(_thanks_table(thanks))


def _print_csv(bill: Bill) -> None:
    writer = csv.DictWriter(sys.stdout, [*BillLine.model_fields, "currency"])
    writer.writeheader()
    writer.writerows(line.model_dump() | {"currency": bill.currency} for line in bill.lines)


def _show(bill: Bill) -> None:
    made, kept = counted(bill.images, "image"), f"{bill.kept:,} kept"
    out.say(f"{bill.subject}: {money(bill.cost, bill.currency)} for {made}, {kept}")
    if bill.images:
        each = f"per image {_each(bill.cost, bill.images, bill.currency)}"
        out.say(f"{each}, per kept image {_each(bill.cost, bill.kept, bill.currency)}")
    out.print("", _components_table(bill))
    for title, name_of in (
        ("use", lambda line: _USES[line.use]),
        (
            "model and class",
            lambda line: f"{line.model or '-'} {line.vram_class} GB" * (line.use != "removed"),
        ),
        ("node", lambda line: line.node),
        ("owner", lambda line: line.owner or "(idle)"),
    ):
        groups = grouped(bill.lines, name_of)
        if title == "use" or len(groups) > 1:
            out.print("", bill_table(title, groups, bill.currency))
    out.print("")
    for sentence in reference_sentences(bill):
        out.say(sentence, style="dim")


class BillPart(NamedTuple):
    """Lines that are told together."""

    name: str
    lines: tuple[BillLine, ...]

    def sum(self, column: str) -> float:
        return float(sum(getattr(line, column) for line in self.lines))


def grouped(lines: Iterable[BillLine], name_of: Callable[[BillLine], str]) -> list[BillPart]:
    """The dearest group first. Every line is in one of them."""
    found: dict[str, list[BillLine]] = {}
    for line in lines:
        found.setdefault(name_of(line), []).append(line)
    groups = [BillPart(name, tuple(some)) for name, some in found.items()]
    return sorted(groups, key=lambda group: (-group.sum("cost"), group.name))


def _components_table(bill: Bill) -> Table:
    """What the whole bill is made of."""
    whole = BillPart("", bill.lines)
    rows = [
        (told, money(whole.sum(column), bill.currency))
        for column, told in _COMPONENTS.items()
        if whole.sum(column)
    ]
    return table("component", "cost", rows=rows, right=("cost",))


def bill_table(title: str, groups: Sequence[BillPart], currency: str) -> Table:
    """Groups of lines, in 80 columns; their components are in the JSON and the CSV."""
    rows = [
        (
            group.name or "-",
            f"{group.sum('images'):,.0f}" if group.sum("images") else "",
            duration(group.sum("seconds")),
            format_energy(group.sum("joules")),
            money(group.sum("cost"), currency),
            _each(group.sum("cost"), group.sum("images"), currency) if group.sum("images") else "",
        )
        for group in groups
    ]
    headings = (title, "images", "time", "energy", "cost", "per image")
    return table(*headings, rows=rows, right=headings[1:], whole=(title,))


def _each(cost: float, images: float, currency: str) -> str:
    return money(cost / images, currency) if images else "-"


def reference_sentences(bill: Bill) -> list[str]:
    """What hosted services ask for images of the same models, and the classic figures."""
    told = []
    for model in sorted({one.model for one in bill.references}):
        here = [line for line in bill.lines if line.model == model]
        images = sum(line.images for line in here)
        if images:
            cents = f"{sum(line.cost for line in here) / images * 100:.2g} ct {bill.currency}"
            hosted = ", ".join(_hosted(one) for one in bill.references if one.model == model)
            told.append(f"{model}: {cents} here, {hosted} hosted")
    classic = " and ".join(f"{cents} ct" for cents in CLASSIC_CENTS)
    return [*told, f"Classic figures, without a source: {classic}, hosted and on one's own card."]


def _hosted(one: ReferencePrice) -> str:
    unit = "" if one.per == "image" else " per megapixel"
    return f"{one.price * 100:.2g} ct {one.currency}{unit} at {one.service} ({one.date})"


def _thanks_table(thanks: Thanks) -> Table:
    rows = [
        (
            line.owner,
            f"{line.nodes:,}",
            f"{line.images:,}",
            duration(line.hours * 3600),
            format_energy(line.card_kwh * JOULES_PER_KWH),
            format_energy(line.kwh * JOULES_PER_KWH),
            money(line.electricity, thanks.currency),
        )
        for line in thanks.volunteers
    ]
    headings = ("owner", "nodes", "images", "time", "energy of cards", "of machines", "paid for electricity")
    return table(*headings, rows=rows, right=headings[1:])

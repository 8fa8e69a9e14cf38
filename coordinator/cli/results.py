"""What a finished job leaves: its cost table and its contact sheet."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel
from rich.table import Table

from common.units import counted
from common.views import CostTable, EstimateView, ImageView, JobView
from coordinator.cli.contact_sheet import NAME, Picture, Sheet, write_contact_sheet
from coordinator.cli.download import files_of
from coordinator.cli.lettering import remedy
from coordinator.cli.show import duration, err, money, out, table, whisper
from coordinator.client import FarmClient

#: Seconds of rest that are worth a word.
_WORTH_SAYING_S = 1.0
#: Maximum number of characters without a font that a message names.
_SOME = 12


class Outcome(BaseModel):
    """Printed by `farm watch --json` at the end."""

    job: JobView
    costs: CostTable


def outcome(client: FarmClient, job: JobView) -> Outcome:
    return Outcome(job=job, costs=client.table(job.id))


def estimate_words(estimate: EstimateView, currency: str) -> str:
    """Returns what the plan of a job said when it was submitted."""
    images = counted(estimate.images, "image")
    return f"estimated: {images} in {duration(estimate.seconds)} for {money(estimate.cost, currency)}"


def taken_words(job: JobView) -> str:
    """Returns what a finished job took, beside what its plan said, and what of it cannot be compared.

    Empty if it has no image yet.
    """
    if job.took_s is None:
        return ""
    took, cost = f"took {duration(job.took_s)}", f"cost {money(job.cost, job.currency)}"
    notes = []
    if (estimate := job.estimate) is not None:
        took += f", {duration(estimate.seconds)} estimated"
        cost += f", {money(estimate.cost, job.currency)} estimated"
        if estimate.images != job.rendered:
            rendered = f"{job.rendered:,} rendered for this job"
            notes.append(f"estimated for {counted(estimate.images, 'image')}, {rendered}")
    if job.paused_s >= _WORTH_SAYING_S:
        notes.append(f"without {duration(job.paused_s)} in which it was paused or over")
    compared = f" ({'; '.join(notes)})" if notes else ""
    return f"{took}; {cost}{compared}"


def show_outcome(ended: Outcome) -> None:
    """Print the cost table of a job, and what it took."""
    out.print("", cost_table(ended.costs))
    if words := taken_words(ended.job):
        out.print("")
        out.say(words)


def contact_sheet(client: FarmClient, job: JobView, folder: Path) -> Sheet:
    """Write the contact sheet of the images in `folder`, each in the first of its sizes."""
    pictures, others, prices = [], [], 0.0
    for image in client.shots(job.id):
        wanted, *more = files_of(image)
        file = wanted.path(folder)
        if image.url is not None and file.exists():
            facts = _facts(image, job.currency)
            name = wanted.export.name if wanted.export else image.name
            pictures.append(Picture(file=file, name=name, prompt=image.prompt, facts=facts))
            prices += _price(image) or 0.0
        else:
            others.append(file)
        others += [each.path(folder) for each in more]
    title = f"{job.name}: {counted(len(pictures), 'image')}"
    return write_contact_sheet(
        pictures, folder, title, note=price_words(prices, job.cost, job.currency), others=others
    )


def price_words(prices: float, cost: float, currency: str) -> str:
    """Returns what the prices on a sheet contain, and how their sum is related to the cost of the job."""
    return (
        "A price contains rendering, storage, and the share of the image in the loading and the lost work of "
        f"its batch. These images: {money(prices, currency)}. The job: {money(cost, currency)}, with failed "
        "attempts, without images that were rendered for earlier jobs."
    )


def _price(image: ImageView) -> float | None:
    return None if image.cost is None else image.cost + (image.overhead or 0.0)


def tell_sheet(page: Path, png: Path) -> None:
    """Print where the contact sheet is."""
    out.say("contact sheet: ", (str(page), "bold"), f" and {png}")
    if page.stem != NAME:
        whisper(f"{NAME} already exists and was not overwritten")


def warn_of_missing_fonts(sheet: Sheet) -> None:
    if sheet.missing:
        some = f"{sheet.missing[:_SOME]} …" if len(sheet.missing) > _SOME else sheet.missing
        words = f"no installed font has {some}; {sheet.png.name} shows codes instead until you install"
        err.say(f"{words} {remedy(sheet.missing)}", style="yellow")


def sheet_words(url: str, job: JobView) -> str:
    """Returns where the images of a job can be seen, at the farm with this address and in a folder."""
    return f"contact sheet: {url}/jobs/{job.id}/sheet; with the images: farm pull {job.id} DIR"


def cost_table(costs: CostTable) -> Table | str:
    """Returns images, seconds and cost by model and class."""
    if not costs.rows:
        return "all images were already stored; no cost"
    rows = [
        (
            row.model,
            f"{row.vram_class} GB",
            str(row.images),
            "-" if row.seconds_per_image is None else f"{row.seconds_per_image:.2f} s",
            money(row.cost_per_image, costs.currency),
            money(row.cost, costs.currency),
            str(row.failures),
            str(row.rejected) if row.rejected else "",
        )
        for row in costs.rows
    ]
    headings = (
        "model",
        "class",
        "images",
        "time per image",
        "cost per image",
        "cost",
        "failed",
        "rejected",
    )
    return table(*headings, rows=rows, right=headings[1:], whole=("model", "class"))


def _facts(image: ImageView, currency: str) -> str:
    facts = [image.model, f"seed {image.seed}", f"{image.width}×{image.height}"]
    if image.node is not None:
        facts.append(image.node)
    if image.seconds is not None:
        facts.append(f"{image.seconds:.1f} s")
    if (price := _price(image)) is not None:
        facts.append(money(price, currency))
    return " · ".join(facts)

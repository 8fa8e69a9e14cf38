"""What a finished job took and cost, beside what its plan said."""

from __future__ import annotations

from pydantic import BaseModel
from rich.table import Table

from common.units import counted
from common.views import CostTable, EstimateView, JobView
from coordinator.cli.show import duration, money, out, table
from coordinator.client import FarmClient

#: Seconds of rest that are worth a word.
_WORTH_SAYING_S = 1.0


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

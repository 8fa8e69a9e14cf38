"""The contact sheet of the images of a job that are in a folder."""

from __future__ import annotations

from pathlib import Path

from common.units import counted
from common.views import ImageView, JobView
from coordinator.cli.contact_sheet import NAME, Picture, Sheet, write_contact_sheet
from coordinator.cli.download import files_of
from coordinator.cli.lettering import remedy
from coordinator.cli.show import err, money, out, whisper
from coordinator.client import FarmClient

#: Maximum number of characters without a font that a message names.
_SOME = 12


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


def _facts(image: ImageView, currency: str) -> str:
    facts = [image.model, f"seed {image.seed}", f"{image.width}×{image.height}"]
    if image.node is not None:
        facts.append(image.node)
    if image.seconds is not None:
        facts.append(f"{image.seconds:.1f} s")
    if (price := _price(image)) is not None:
        facts.append(money(price, currency))
    return " · ".join(facts)

"""`farm withheld` and `farm approve`: an operator decides about images that classifiers withheld."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from common.views import WithheldImage
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.show import out, print_json, print_list, table
from coordinator.explain.wording import SHORT

_NONE = "no image is withheld"


def withheld_command(settings: options.SettingsFile = None, as_json: options.AsJson = False) -> None:
    """List images that classifiers withheld, the oldest first. Operators alone see them.

    The page `/withheld` of the farm shows the images; `farm approve SHOT` shows one to everybody who may see
    its job, `farm delete SHOT` deletes it.

    Example: `farm withheld`
    """
    with connect(settings) as client:
        images, page = client.withheld(), f"{client.url}/withheld"
    print_list(images, _table, _NONE, as_json)
    if images and not as_json:
        out.say(f"the images: {page}")


def _table(images: Sequence[WithheldImage]) -> Table:
    rows = [
        (image.shot_id[:SHORT], image.job, image.owner, image.lane, image.name, image.reason)
        for image in images
    ]
    return table("shot", "job", "owner", "lane", "image", "why", rows=rows, whole=("shot", "job"))


def approve_command(
    shots: options.Shots, settings: options.SettingsFile = None, as_json: options.AsJson = False
) -> None:
    """Approve withheld images: everybody who may see their jobs sees them from now on.

    Example: `farm approve 51b2f0`
    """
    with connect(settings) as client:
        approved = []
        for shot in shots:
            approved.append(client.approve(shot))
            if not as_json:
                out.say(f"the image of shot {approved[-1].id[:SHORT]} is shown now")
    if as_json:
        print_json(approved)

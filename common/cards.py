"""Cards for planning: one reference card per VRAM class, and card files that describe other cards.

A reference card is a typical low-end card of its class, so a shot that fits it fits most cards of the
class. Its usable memory excludes what a desktop and the driver take.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from common.document.typed import plain, read_document, validated
from common.errors import InvalidDocument
from common.nodes import Card
from common.units import GIB

_Gib = Annotated[float, Field(gt=0, le=1024)]


class CardFile(BaseModel):
    """A card as described in a card file (`manifests/cards/`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    vram_gib: _Gib
    #: Video memory available to the farm, without that of desktop and driver.
    usable_gib: _Gib
    #: Host memory available for weights during loading and for weights that are not kept on the card.
    ram_gib: _Gib
    compute_capability: Annotated[str, Field(pattern=r"^\d+\.\d+$")]
    #: Declared power draw under load.
    watts: Annotated[float, Field(gt=0)]

    def card(self) -> Card:
        major, minor = self.compute_capability.split(".")
        return Card(
            name=self.name,
            backend="cuda",
            vram_bytes=round(self.vram_gib * GIB),
            usable_bytes=round(self.usable_gib * GIB),
            ram_bytes=round(self.ram_gib * GIB),
            compute_capability=(int(major), int(minor)),
            watts=self.watts,
        )


def load_card(path: Path) -> Card:
    """Returns the card that a card file describes.

    If a CPU node simulates this card, it adopts name, memory and watts, but has the backend `cpu` and no
    compute capability.

    Raises InvalidDocument if the file cannot be read or is wrong.
    """
    text, problems = read_document(path)
    file = validated(CardFile, plain(text.root), "", text, problems)
    if file is None or problems:
        raise InvalidDocument(str(path), problems)
    return file.card()


def _reference(name: str, vram: float, usable: float, ram: float, capability: str, watts: float) -> Card:
    return CardFile(
        name=name, vram_gib=vram, usable_gib=usable, ram_gib=ram, compute_capability=capability, watts=watts
    ).card()


#: Reference card by VRAM class. Sizes are in GiB, power draw is in watts.
REFERENCE_CARDS: dict[int, Card] = {
    6: _reference("GTX 1660 Super", 6, 5.4, 12, "7.5", 125),
    8: _reference("GTX 1070", 8, 7.3, 12, "6.1", 150),
    12: _reference("RTX 3060", 12, 11.2, 24, "8.6", 170),
    16: _reference("RTX 4060 Ti", 16, 15.2, 24, "8.9", 165),
    24: _reference("RTX 4090", 24, 23.0, 48, "8.9", 420),
    32: _reference("RTX 5090", 32, 31.0, 48, "12.0", 575),
}

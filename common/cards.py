"""Cards to plan with: one reference card a VRAM class, and card files that describe others.

A reference card is a weak usual one of its class, so that what fits it fits the class; its memory is
what a desktop and the driver leave of it.
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
    """A card as people write it down (`manifests/cards/`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    vram_gib: _Gib
    #: What desktop and driver leave to the farm.
    usable_gib: _Gib
    #: Host memory that weights may take while they are loaded, and where they are not on the card.
    ram_gib: _Gib
    compute_capability: Annotated[str, Field(pattern=r"^\d+\.\d+$")]
    #: Declared draw under load.
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
    """The card that a card file describes. Raises InvalidDocument.

    A CPU node that poses as it takes over name, memory and watts, with the backend `cpu` and no compute
    capability.
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


#: VRAM class to its reference card; sizes in GiB, draw in watts.
REFERENCE_CARDS: dict[int, Card] = {
    6: _reference("GTX 1660 Super", 6, 5.4, 12, "7.5", 125),
    8: _reference("GTX 1070", 8, 7.3, 12, "6.1", 150),
    12: _reference("RTX 3060", 12, 11.2, 24, "8.6", 170),
    16: _reference("RTX 4060 Ti", 16, 15.2, 24, "8.9", 165),
    24: _reference("RTX 4090", 24, 23.0, 48, "8.9", 420),
    32: _reference("RTX 5090", 32, 31.0, 48, "12.0", 575),
}

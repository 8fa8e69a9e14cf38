"""Bills between the command line and the coordinator, and what hosted services ask for the same models.

Amounts are in the farm's currency (`Money.currency`) unless they name another.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from common.document.typed import plain, read_document, validated
from common.errors import InvalidDocument
from common.messages import Message

_FILE = Path(__file__).parent / "reference_prices.yaml"

#: What the time of a card was used for. `removed`: retention has removed the details of a job.
Use = Literal["image", "failed", "cancelled", "duplicate", "load", "lost", "verification", "idle", "removed"]
#: Pattern of a month.
MONTH = r"^[0-9]{4}-(0[1-9]|1[0-2])$"
Month = Annotated[str, Field(pattern=MONTH)]


class ReferencePrice(Message):
    """What a hosted service asks for an image of a model."""

    model: str
    service: str
    #: For an image of one megapixel.
    price: float
    currency: str = "USD"
    per: Literal["image", "megapixel"]
    #: Month in which it was read.
    date: str
    #: Page that says so.
    url: str


class BillLine(Message):
    #: Owner of the job that paid; empty for idle time.
    owner: str
    node: str
    #: Model and lane are empty for idle time.
    model: str
    lane: str
    vram_class: int
    use: Use
    #: Stored images, and those of them that nobody rejected.
    images: int = 0
    kept: int = 0
    #: Time that occupied the card.
    seconds: float = 0.0
    #: Energy of the card.
    joules: float = 0.0
    electricity: float = 0.0
    #: Cost of owning or renting the card.
    hours: float = 0.0
    #: Cost of keeping and delivering images.
    storage: float = 0.0
    #: The sum of these three.
    cost: float = 0.0
    #: Electricity that a volunteer paid, which is not part of `cost`.
    volunteered: float = 0.0


class Bill(Message):
    """GET /v1/costs and /v1/jobs/{id}/bill: each line is a node, model, class and use of one owner."""

    #: Month, or ID of the job.
    subject: str
    currency: str
    lines: tuple[BillLine, ...]
    images: int
    kept: int
    #: Of all lines.
    cost: float
    #: Of the models in it.
    references: tuple[ReferencePrice, ...]


class ThanksLine(Message):
    """What the cards of a volunteer did for the farm."""

    owner: str
    nodes: int
    images: int
    #: Time that occupied their cards.
    hours: float
    #: Energy of the cards alone, and with the rest of their machines.
    card_kwh: float
    kwh: float
    #: What all this electricity cost them.
    electricity: float


class Thanks(Message):
    """GET /v1/thanks."""

    month: str
    currency: str
    volunteers: tuple[ThanksLine, ...]


def bill_of(subject: str, currency: str, lines: Iterable[BillLine]) -> Bill:
    """Returns the bill with its sums and the references of its models."""
    lines = tuple(lines)
    models = {line.model for line in lines}
    return Bill(
        subject=subject,
        currency=currency,
        lines=lines,
        images=sum(line.images for line in lines),
        kept=sum(line.kept for line in lines),
        cost=sum(line.cost for line in lines),
        references=tuple(one for one in reference_prices() if one.model in models),
    )


class _PriceFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    prices: tuple[ReferencePrice, ...]


@cache
def reference_prices() -> tuple[ReferencePrice, ...]:
    """The newest price of each service for each model, by model and price."""
    text, problems = read_document(_FILE)
    read = validated(_PriceFile, plain(text.root), "", text, problems)
    if read is None or problems:
        raise InvalidDocument(str(_FILE), problems)
    newest = {(one.model, one.service): one for one in sorted(read.prices, key=lambda one: one.date)}
    return tuple(sorted(newest.values(), key=lambda one: (one.model, one.price)))

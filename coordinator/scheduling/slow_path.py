"""Slow paths: nodes that render a model at less than half the rate of their card, and the likely reason.

Pure. The planner needs none of this: it goes by the speed that a node showed, whatever the reason.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from common.nodes import Card
from common.units import format_gib

#: A node is slow if an image takes so many times as long as estimated, and as on others with such a card.
#: Estimates are good to a factor of two.
_SLOW = 2.0
#: Images before a node is judged: the first ones of a process take longer.
_IMAGES = 5
#: Weight of the newest image.
_NEWEST = 0.2
#: Megapixels of the smallest image that is compared: smaller ones keep no card busy.
_SMALLEST_MP = 0.2
#: Share of the time that prompts take where the text encoder holds everything up.
_MOSTLY = 0.5
#: Degrees Celsius from which cards lower their clocks.
_HOT_C = 83.0
#: Shares of a card's power: a card with less waits for something, one with more computes all the time.
_WAITING, _COMPUTING = 0.5, 0.75


class RenderedImage(NamedTuple):
    """How a node rendered an image; or a mean of several."""

    #: Its time as a multiple of the estimate for the card.
    slowness: float
    #: Share of its time in which prompts were encoded.
    encoding: float = 0.0
    #: Measured power and temperature of the card; None: not measured.
    watts: float | None = None
    temperature_c: float | None = None
    #: Memory of the card that its pass took.
    peak_bytes: int | None = None


class Record(NamedTuple):
    """What the images of a model on a node have shown."""

    images: int
    #: A moving average; of the slowness the geometric one, so that single images weigh little.
    mean: RenderedImage


def noted(record: Record | None, image: RenderedImage) -> Record:
    """The record after one more image."""
    if record is None:
        return Record(1, image)
    weight = max(_NEWEST, 1 / (record.images + 1))
    mean = record.mean
    return Record(
        record.images + 1,
        RenderedImage(
            slowness=mean.slowness ** (1 - weight) * image.slowness**weight,
            encoding=mean.encoding + weight * (image.encoding - mean.encoding),
            watts=_mean(mean.watts, image.watts, weight),
            temperature_c=_mean(mean.temperature_c, image.temperature_c, weight),
            peak_bytes=image.peak_bytes,
        ),
    )


class SlowPath(NamedTuple):
    """What a slow node shows of a model."""

    #: Its rate as a share of what is expected of its card.
    rate: float
    #: Other nodes with such a card that render the model faster.
    faster: int
    #: A clause, and what its owner can do.
    reason: str
    remedy: str


def is_comparable(card: Card, megapixels: float) -> bool:
    """Whether estimates tell what such an image should take: not on a CPU, and not if it is small."""
    return card.backend != "cpu" and megapixels >= _SMALLEST_MP


def slow_paths(
    records: Mapping[str, Mapping[str, Record]], cards: Mapping[str, Card]
) -> dict[str, dict[str, SlowPath]]:
    """By node and model, as the records are. `cards` are those of the nodes."""
    alike: dict[tuple[str, str], dict[str, Record]] = {}
    for node_id, of_models in records.items():
        for model, record in of_models.items():
            if record.images >= _IMAGES:
                alike.setdefault((cards[node_id].type, model), {})[node_id] = record
    found: dict[str, dict[str, SlowPath]] = {}
    for (_, model), nodes in alike.items():
        known = sorted(record.mean.slowness for record in nodes.values())
        for node_id, record in nodes.items():
            if slow := slow_path(record.mean, known, cards[node_id]):
                found.setdefault(node_id, {})[model] = slow
    return found


def slow_paths_of(
    node_id: str, records: Mapping[str, Mapping[str, Record]], cards: Mapping[str, Card]
) -> dict[str, SlowPath]:
    """The same of one node, by model. Grows with the nodes that have such a card."""
    mine = records.get(node_id, {})
    alike = {
        other: {model: record for model, record in of_models.items() if model in mine}
        for other, of_models in records.items()
        if mine and cards[other].type == cards[node_id].type
    }
    return slow_paths(alike, cards).get(node_id, {})


def slow_path(mean: RenderedImage, known: Sequence[float], card: Card) -> SlowPath | None:
    """None: the node is about as fast as estimated, or as most nodes with such a card.

    `known` is the slowness of all of them, this one included, the least first.
    """
    usual = known[(len(known) - 1) // 2] if len(known) > 1 else 1.0
    if mean.slowness <= _SLOW * max(1.0, usual):
        return None
    return SlowPath(1 / mean.slowness, bisect_left(known, mean.slowness), *likely_reason(mean, card))


class Reason(NamedTuple):
    #: A clause.
    reason: str
    #: What the owner of the node can do.
    remedy: str


_UNKNOWN = Reason(
    "nothing that the node reports tells why",
    "compare memory, clocks and processes of the card while it renders, with `nvidia-smi`",
)


def likely_reason(mean: RenderedImage, card: Card) -> Reason:
    """What most likely slows a card down."""
    if mean.encoding >= _MOSTLY:
        return Reason(
            f"encoding the prompts takes {mean.encoding * 100:.0f} % of the time, probably on the CPU",
            "free video memory, so that the text encoder fits on the card, or let larger cards render it",
        )
    if mean.peak_bytes is not None and mean.peak_bytes > card.usable_bytes:
        return Reason(
            f"passes take {format_gib(mean.peak_bytes)} and the card has {format_gib(card.usable_bytes)} to "
            "give, so part of them is probably in shared memory of the host",
            "close programs that use video memory; on Windows, set `CUDA - Sysmem Fallback Policy` to "
            "`Prefer No Sysmem Fallback` in the NVIDIA control panel",
        )
    return _by_heat_and_power(mean, card) or _UNKNOWN


def _by_heat_and_power(mean: RenderedImage, card: Card) -> Reason | None:
    power = mean.watts / card.watts if mean.watts is not None and card.watts else None
    draws = f"{mean.watts or 0:.0f} of {card.watts or 0:.0f} W"
    computes = power is not None and power >= _COMPUTING
    if mean.temperature_c is not None and mean.temperature_c >= _HOT_C and not computes:
        return Reason(
            f"thermal throttling is likely, because the card is at {mean.temperature_c:.0f} °C",
            "clean its fans and let more air to the card",
        )
    if computes:
        return Reason(
            f"another process probably uses the card, because it draws {draws}",
            "close other programs that use the card; `nvidia-smi` lists them",
        )
    if power is not None and power < _WAITING:
        return Reason(
            f"the card draws only {draws}, so it probably waits for data in shared memory of the host, or "
            "for the CPU",
            "close other programs on this machine; `nvidia-smi` shows which use video memory",
        )
    return None


def _mean(known: float | None, new: float | None, weight: float) -> float | None:
    """The moving average; what was not measured leaves it as it is."""
    if known is None or new is None:
        return known if new is None else new
    return known + weight * (new - known)

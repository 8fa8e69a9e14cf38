"""Cards, the terms on which they are provided, VRAM classes and their queues."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from common.units import GIB

#: Who pays for a node; see `common.cost`.
Terms = Literal["owned", "rented", "volunteer"]


def is_own(terms: Terms) -> bool:
    """Whether a node on these terms belongs to the farm."""
    return terms != "volunteer"


#: Seconds that a stopping node allows for its running pass, unless it was told otherwise.
LAST_PASS_S = 30.0

#: Ends the reason of a pause that the settings of the owner began, and end.
RESUMES_BY_ITSELF = "it resumes by itself"

#: Fraction of a class that fills it: cards report slightly less than their nominal size (RTX 4090: 23.99 GiB,
#: A5000: 23.7 GiB).
_CLASS_SLACK = 0.95

#: In GiB. A card belongs to the largest class that it fills.
VRAM_CLASSES = (6, 8, 12, 16, 24, 32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """The result of a probe: one GPU, or a CPU that simulates one, with its machine."""

    name: str
    #: `cuda` or `cpu`.
    backend: str
    #: Total video memory in bytes; the declared size on a CPU node.
    vram_bytes: int
    #: Video memory in bytes available to the farm, without that of desktop and driver.
    usable_bytes: int
    #: Host memory in bytes available for offloaded weights.
    ram_bytes: int
    #: CUDA compute capability such as (6, 1); None for a CPU.
    compute_capability: tuple[int, int] | None = None
    #: Declared watts under load, used if there is no measurement; None if unknown.
    watts: float | None = None

    @property
    def vram_class(self) -> int:
        return vram_class(self.vram_bytes)

    @property
    def type(self) -> str:
        """Identifies cards that behave alike."""
        return f"{self.name}, {self.vram_class} GB"


@cache
def vram_class(vram_bytes: int) -> int:
    """Returns the largest class that this much memory fills; the smallest class if it fills none.

    >>> vram_class(8 * GIB), vram_class(10 * GIB), vram_class(int(23.7 * GIB))
    (8, 8, 24)
    """
    filled = [c for c in VRAM_CLASSES if c * GIB * _CLASS_SLACK <= vram_bytes]
    return filled[-1] if filled else VRAM_CLASSES[0]


def queue_name(lane: str, vram: int) -> str:
    """Returns the queue for tickets of a lane and class, such as `render.public.vram08`."""
    return f"render.{lane}.vram{vram:02d}"


INGEST_QUEUE = "ingest"

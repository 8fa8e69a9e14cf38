"""Cards, on what terms they are lent, VRAM classes and the queues that lead to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.units import GIB

#: Who pays for a node: see `common.cost`.
Terms = Literal["owned", "rented", "volunteer"]

#: GiB; a card belongs to the largest class it fills.
VRAM_CLASSES = (6, 8, 12, 16, 24, 32)

#: Seconds that a node which is told to stop gives its running pass and its deliveries.
LAST_PASS_S = 30.0

#: Cards report a little less than the box says (an RTX 4090 has 23.99 GiB, an A5000 23.7).
_CLASS_SLACK = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What a probe found: one GPU, or a CPU that stands in for one, with its machine."""

    name: str
    #: `cuda` or `cpu`.
    backend: str
    #: Bytes of video memory in all; what a CPU node declares.
    vram_bytes: int
    #: Bytes that desktop and driver leave to the farm.
    usable_bytes: int
    #: Bytes of host memory the node may use for offloaded weights.
    ram_bytes: int
    #: CUDA compute capability such as (6, 1); None for a CPU.
    compute_capability: tuple[int, int] | None = None
    #: Declared wattage under load, used where nothing measures it; None if unknown.
    watts: float | None = None

    @property
    def vram_class(self) -> int:
        return vram_class(self.vram_bytes)

    @property
    def type(self) -> str:
        """What cards that behave alike have in common."""
        return f"{self.name}, {self.vram_class} GB"


def vram_class(vram_bytes: int) -> int:
    """The largest class this much memory fills; the smallest class for less.

    >>> vram_class(8 * GIB), vram_class(10 * GIB), vram_class(int(23.7 * GIB))
    (8, 8, 24)
    """
    filled = [c for c in VRAM_CLASSES if c * GIB * _CLASS_SLACK <= vram_bytes]
    return filled[-1] if filled else VRAM_CLASSES[0]


def queue_name(lane: str, vram: int) -> str:
    """The Redis list that carries a lane's tickets for one class: `render.public.vram08`."""
    return f"render.{lane}.vram{vram:02d}"


INGEST_QUEUE = "ingest"

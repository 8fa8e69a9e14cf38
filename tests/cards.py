"""A card with all of its memory to give."""

from __future__ import annotations

from typing import Any

from common.messages import CardFacts
from common.units import GIB


def card_facts(vram_gib: int, **facts: Any) -> CardFacts:
    """Of that size; on CUDA unless `facts` say otherwise."""
    given: dict[str, Any] = {"backend": "cuda", "ram_bytes": 32 * GIB}
    memory = vram_gib * GIB
    return CardFacts(name=f"card of {vram_gib} GB", vram_bytes=memory, usable_bytes=memory, **given | facts)

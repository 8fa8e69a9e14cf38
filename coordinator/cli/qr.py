"""A text as a QR code in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

#: Readers want dark on light, whatever the terminal has.
QR_STYLE: Final = "#000000 on #ffffff"
#: Of light around a code.
_QUIET_ZONE: Final = 4
#: By whether the upper and the lower half are dark.
_BLOCKS: Final = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}


def qr_lines(text: str) -> list[str]:
    """Lines of half blocks, each of two rows of modules."""
    # Here, as it takes longer to import than most commands need for it.
    import segno

    rows: list[Sequence[int]] = [
        tuple(row) for row in segno.make_qr(text, error="l").matrix_iter(border=_QUIET_ZONE)
    ]
    light = (0,) * len(rows[0])
    pairs = zip_longest(rows[::2], rows[1::2], fillvalue=light)
    return ["".join(_BLOCKS[halves] for halves in zip(upper, lower, strict=True)) for upper, lower in pairs]

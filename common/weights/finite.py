"""Whether all weights of a file are numbers."""

from __future__ import annotations

import json
from pathlib import Path

#: dtype of safetensors to the type of as many bits, and the bits that are all set where there is no number.
_EXPONENTS = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "BF16": ("<u2", 0x7F80),
    "F16": ("<u2", 0x7C00),
    "F8_E5M2": ("<u1", 0x7C),
    # Has no infinity.
    "F8_E4M3": ("<u1", 0x7F),
}
#: Weights that are looked at together.
_CHUNK = 1 << 22


def tensor_without_numbers(file: Path) -> str | None:
    """Name of a tensor that has infinities or values that are no numbers; None if there is none.

    `file` is a safetensors file whose header has been read without an error.
    """
    # Takes as long to import as all else that a command needs.
    import numpy

    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(length))
    header.pop("__metadata__", None)
    for name, said in header.items():
        start, end = said["data_offsets"]
        if said["dtype"] in _EXPONENTS and end > start:
            kind, mask = _EXPONENTS[said["dtype"]]
            bits = numpy.memmap(
                file, kind, "r", 8 + length + start, (end - start) // numpy.dtype(kind).itemsize
            )
            if any(
                (bits[at : at + _CHUNK] & bits.dtype.type(mask) == mask).any()
                for at in range(0, len(bits), _CHUNK)
            ):
                return str(name)
    return None

"""The form of a textual inversion: for which family its vectors are, and how many it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from common.weights.header import Tensor

#: Names of the vectors for each text encoder of SDXL, in the order of the encoders.
SDXL_KEYS = ("clip_l", "clip_g")
_SDXL_WIDTHS = (768, 1280)
#: Width of the one text encoder to its family.
_WIDTHS = {768: "sd15", 1024: "sd2"}
#: The key that training programs give the vectors; others name them by their word, such as `<cat>`.
_KEY = "emb_params"


class InversionForm(NamedTuple):
    #: `sd15`, `sd2`, `sdxl`; empty for vectors of another width.
    family: str
    #: Number of vectors, which is that of the tokens they take the place of.
    vectors: int


def inversion_form(tensors: Mapping[str, Tensor]) -> InversionForm | None:
    """None for what is no textual inversion."""
    if not tensors or any(not 1 <= len(tensor.shape) <= 2 for tensor in tensors.values()):
        return None
    sizes = {key: _rows_and_width(tensor) for key, tensor in tensors.items()}
    if sizes.keys() == set(SDXL_KEYS):
        rows = {sizes[key][0] for key in SDXL_KEYS}
        fits = tuple(sizes[key][1] for key in SDXL_KEYS) == _SDXL_WIDTHS and len(rows) == 1
        return InversionForm("sdxl" if fits else "", max(rows))
    if len(tensors) > 1:
        return None
    key, (number, width) = next(iter(sizes.items()))
    family = _WIDTHS.get(width, "")
    return InversionForm(family, number) if family or key == _KEY else None


def _rows_and_width(tensor: Tensor) -> tuple[int, int]:
    *rows, width = tensor.shape
    return (rows[0] if rows else 1), width

"""The matrices that a LoHa or a LoKr multiplies, by the shapes of their factors.

A LoHa adds the product, element by element, of two matrices to a layer (Hyeon-Woo et al. 2021, arXiv
2108.06098); a LoKr their Kronecker product. Each matrix stands in the file as `w1`, or as `w1_a` times
`w1_b`, with `t1` between them for the window of a convolution (Tucker form).
"""

from __future__ import annotations

from dataclasses import dataclass

from common.weights.lora_file import LoraTensors


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two matrices."""

    #: Outputs, inputs, and the window of a convolution where it has its own axes.
    shape: tuple[int, ...]
    #: Pairs of dimensions that are equal in a whole file.
    ranks: tuple[tuple[int, int], ...] = ()


def side_of(layer: LoraTensors, number: int) -> Side | None:
    """The first or second matrix; None if a tensor of it is lacking."""
    whole, first, second, core = (
        layer.factors.get(name) for name in (f"w{number}", f"w{number}_a", f"w{number}_b", f"t{number}")
    )
    if whole is not None:
        return Side(whole.shape) if len(whole.shape) > 1 else None
    if first is None or second is None or len(first.shape) != 2 or len(second.shape) != 2:
        return None
    if core is None:
        return Side((first.shape[0], second.shape[1]), ((first.shape[1], second.shape[0]),))
    if len(core.shape) != 4:
        return None
    ranks = ((first.shape[0], core.shape[0]), (second.shape[0], core.shape[1]))
    return Side((first.shape[1], second.shape[1], *core.shape[2:]), ranks)

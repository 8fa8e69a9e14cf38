"""Image classifiers: what says of one how its scores are computed, beside its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierForm:
    """What of an image classifier its file of weights does not tell."""

    architecture: Literal["vit", "clip", "siglip"]
    #: What its scores are about, in their order.
    labels: tuple[str, ...]
    #: Whether an image has one label alone, so that scores add up to 1.
    exclusive: bool
    heads: int
    activation: Literal["gelu", "gelu_pytorch_tanh", "quick_gelu"]
    #: Of its layer norms.
    epsilon: float
    #: Of red, green and blue in 0 to 1, which are made 0 and 1.
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

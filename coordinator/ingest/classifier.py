"""An image classifier at work: the scores of the labels of an image, computed with numpy on the processor.

Ingest has no torch. The networks are vision transformers (A. Dosovitskiy et al., An Image is Worth 16x16
Words, 2020, https://arxiv.org/abs/2010.11929) of three kinds, which differ in what comes before and after the
layers.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.classifiers import ClassifierForm
from common.errors import Invalid
from common.weights.classifier import common_name

Array = NDArray[np.float32]

#: dtype of safetensors to that of numpy.
_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True, slots=True)
class LoadedClassifier:
    """A network with its weights; runs once at a time, which bounds memory. Thread-safe."""

    form: ClassifierForm
    #: By the names of `common.weights.classifier`.
    weights: Mapping[str, Array]
    _alone: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, form: ClassifierForm, file: bytes) -> LoadedClassifier:
        """Of the bytes of a safetensors file that has been recognised before. Raises Invalid."""
        weights = dict(_tensors(file))
        try:
            size, labels = _pixels(weights), weights["head.weight"].shape[0]
        except (KeyError, IndexError):
            raise Invalid("its file is no image classifier; add it again") from None
        if labels != len(form.labels) or size <= 0:
            raise Invalid(f"its file has {labels} labels, the catalog {len(form.labels)}; add it again")
        return cls(form, weights)

    def scores(self, picture: Image.Image) -> dict[str, float]:
        """The probability of each label. The whole picture (RGB) is seen, squeezed into a square."""
        with self._alone:
            logits = self._logits(self._seen(picture))
        if self.form.exclusive:
            powers = np.exp(logits - logits.max())
            shares = powers / powers.sum()
        else:
            shares = 1 / (1 + np.exp(-logits))
        return dict(zip(self.form.labels, map(float, shares), strict=True))

    def _seen(self, picture: Image.Image) -> Array:
        """Height × width × 3, as the network was trained."""
        size = _pixels(self.weights)
        small = picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        pixels = np.asarray(small, dtype=np.float32) / 255
        mean, std = (np.asarray(one, dtype=np.float32) for one in (self.form.mean, self.form.std))
        seen: Array = ((pixels - mean) / std).astype(np.float32)
        return seen

    def _logits(self, pixels: Array) -> Array:
        tokens = self._embedded(pixels)
        if "before.weight" in self.weights:
            tokens = self._norm("before", tokens)
        number = 0
        while f"{number}.q.weight" in self.weights:
            tokens = tokens + self._attention(number, self._norm(f"{number}.norm1", tokens))
            inner = self._linear(f"{number}.fc1", self._norm(f"{number}.norm2", tokens))
            tokens = tokens + self._linear(f"{number}.fc2", _ACTIVATIONS[self.form.activation](inner))
            number += 1
        return self._linear("head", self._pooled(tokens))

    def _embedded(self, pixels: Array) -> Array:
        """Tokens × width: one for each square of pixels, after that of the class if there is one."""
        kernel = self.weights["patch.weight"]
        width, colours, edge, _ = kernel.shape
        side = pixels.shape[0] // edge
        squares = pixels.reshape(side, edge, side, edge, colours).transpose(0, 2, 4, 1, 3)
        tokens = squares.reshape(side * side, -1) @ kernel.reshape(width, -1).T
        if "patch.bias" in self.weights:
            tokens = tokens + self.weights["patch.bias"]
        if "class" in self.weights:
            tokens = np.concatenate([self.weights["class"].reshape(1, width), tokens])
        return tokens + self.weights["position"].reshape(-1, width)

    def _attention(self, number: int, tokens: Array) -> Array:
        count, width = tokens.shape
        heads = self.form.heads
        query, key, value = (
            self._linear(f"{number}.{part}", tokens).reshape(count, heads, -1).transpose(1, 0, 2)
            for part in "qkv"
        )
        likeness = query @ key.transpose(0, 2, 1) / np.float32((width // heads) ** 0.5)
        weight = np.exp(likeness - likeness.max(axis=-1, keepdims=True))
        mixed = weight / weight.sum(axis=-1, keepdims=True) @ value
        return self._linear(f"{number}.o", mixed.transpose(1, 0, 2).reshape(count, width))

    def _pooled(self, tokens: Array) -> Array:
        match self.form.architecture:
            case "vit":
                pooled: Array = self._norm("after", tokens)[0]
            case "siglip":
                pooled = self._norm("after", tokens).mean(axis=0)
            case "clip":
                pooled = tokens[1:].mean(axis=0)
        return pooled

    def _norm(self, name: str, tokens: Array) -> Array:
        centred = tokens - tokens.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(self.form.epsilon))
        made: Array = centred / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return made

    def _linear(self, name: str, tokens: Array) -> Array:
        made = tokens @ self.weights[f"{name}.weight"].T
        bias = self.weights.get(f"{name}.bias")
        return made if bias is None else made + bias


def _gelu(x: Array) -> Array:
    # Takes longer to import than ingest needs to start.
    from scipy.special import erf

    made: Array = 0.5 * x * (1 + erf(x / np.float32(2**0.5)))
    return made


def _gelu_tanh(x: Array) -> Array:
    made: Array = 0.5 * x * (1 + np.tanh(np.float32((2 / np.pi) ** 0.5) * (x + np.float32(0.044715) * x**3)))
    return made


def _quick_gelu(x: Array) -> Array:
    made: Array = x / (1 + np.exp(np.float32(-1.702) * x))
    return made


_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": _gelu,
    "gelu_pytorch_tanh": _gelu_tanh,
    "quick_gelu": _quick_gelu,
}


def _pixels(weights: Mapping[str, Array]) -> int:
    """Width and height of what the network looks at."""
    tokens: int = weights["position"].shape[-2] - ("class" in weights)
    edge: int = weights["patch.weight"].shape[-1]
    return math.isqrt(tokens) * edge


def _tensors(file: bytes) -> list[tuple[str, Array]]:
    """What the scores need of a safetensors file. Raises Invalid for a damaged one."""
    try:
        length = int.from_bytes(file[:8], "little")
        header = json.loads(file[8 : 8 + length])
        header.pop("__metadata__", None)
        needed = [(name, said) for key, said in header.items() if (name := common_name(key))]
        return [(name, _array(file, 8 + length, said)) for name, said in needed]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Invalid("its file is damaged, or has weights of another type than F32, F16 and BF16") from None


def _array(file: bytes, start: int, said: Mapping[str, object]) -> Array:
    kind, shape, offsets = said["dtype"], said["shape"], said["data_offsets"]
    assert isinstance(kind, str)
    assert isinstance(shape, list)
    assert isinstance(offsets, list)
    begin, end = offsets
    bits = np.frombuffer(
        file, _DTYPES[kind], (end - begin) // np.dtype(_DTYPES[kind]).itemsize, start + begin
    )
    if kind == "BF16":
        # The upper half of the bits of a float32.
        bits = (bits.astype(np.uint32) << 16).view(np.float32)
    # A copy at an even address: numpy multiplies others thirty times slower.
    return bits.astype(np.float32).reshape(shape)

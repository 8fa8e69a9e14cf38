"""Weight files made of names and shapes alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping

from common.weights import Header, Tensor, parse_header


def header_of(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str] | None = None) -> Header:
    tensors = {key: Tensor("BF16", shape) for key, shape in shapes.items()}
    return Header(format="safetensors", tensors=tensors, metadata=dict(metadata or {}))


def safetensors_bytes(
    shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """A whole file with zeros as weights in 16 bits."""
    said: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for key, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        said[key] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    return with_header(json.dumps(said).encode(), end)


def with_header(text: bytes, data: int = 0) -> bytes:
    return len(text).to_bytes(8, "little") + text + bytes(data)


def parsed(content: bytes, name: str = "a.safetensors") -> Header:
    return parse_header(lambda start, length: content[start : start + length], len(content), name)


def lora_shapes(
    layers: Mapping[str, tuple[int, int]],
    down: str = "lora_A.weight",
    up: str = "lora_B.weight",
    rank: int = 4,
) -> dict[str, tuple[int, ...]]:
    """The tensors of a LoRA by layer: its name to (inputs, outputs)."""

    def each() -> Iterator[tuple[str, tuple[int, ...]]]:
        for name, (inputs, outputs) in layers.items():
            yield f"{name}.{down}", (rank, inputs)
            yield f"{name}.{up}", (outputs, rank)

    return dict(each())

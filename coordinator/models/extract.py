"""Takes a component out of a safetensors file that holds a whole model.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any

from common.weights import read_header

_CHUNK = 16 << 20


def extract(file: Path, prefix: str, target: Path) -> None:
    """Write the tensors whose names begin with `prefix` to a file of their own, without the prefix.

    Their bytes keep the order of `file`, so that one checkpoint becomes the same files everywhere and tensors
    stay aligned. Raises Invalid if `file` is damaged.
    """
    read_header(file)
    with file.open("rb") as source, target.open("wb") as out:
        length = int.from_bytes(source.read(8), "little")
        tensors: dict[str, dict[str, Any]] = json.loads(source.read(length))
        chosen = [(name, tensor) for name, tensor in tensors.items() if name.startswith(prefix)]
        chosen.sort(key=lambda each: (each[1]["data_offsets"], each[0]))
        header, end = {}, 0
        for name, tensor in chosen:
            start, end = end, end + _size(tensor)
            header[name.removeprefix(prefix)] = tensor | {"data_offsets": [start, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        out.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in chosen:
            source.seek(8 + length + tensor["data_offsets"][0])
            _copy(source, out, _size(tensor))


def _size(tensor: dict[str, Any]) -> int:
    start, end = tensor["data_offsets"]
    return int(end - start)


def _copy(source: IO[bytes], out: IO[bytes], size: int) -> None:
    while size:
        chunk = source.read(min(size, _CHUNK))
        out.write(chunk)
        size -= len(chunk)

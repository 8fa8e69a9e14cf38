"""Headers of weight files: names, dtypes and shapes of tensors, and metadata, without reading any weight.

safetensors: https://github.com/huggingface/safetensors#format, GGUF: ggml's docs/gguf.md.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

from common.catalog.check import PICKLES
from common.errors import Invalid
from common.units import format_gib

#: Bytes from an offset; fewer only at the end of the file.
Read = Callable[[int, int], bytes]

#: Bytes; the reference reader of safetensors has the same limit.
_LONGEST_HEADER = 100_000_000
_CHUNK = 1 << 20
#: Deepest shape and most tensors or metadata entries that any known file comes near.
_MOST_DIMENSIONS = 8
_MOST_ENTRIES = 1_000_000
_DTYPE = re.compile(r"(?:BOOL|(?:F|BF|I|U)\d+(?:_\w+)?|C64)")
_BITS = re.compile(r"\d+")
#: Bytes of a GGUF value by type, except text (8) and lists (9).
_GGUF_VALUES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_GGUF_TEXT, _GGUF_LIST = 8, 9
#: GGML type to its name, and to the weights and bytes of a block.
GGML_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    20: ("IQ4_NL", 32, 18),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    26: ("I32", 1, 4),
    30: ("BF16", 1, 2),
}


@dataclass(frozen=True, slots=True)
class Tensor:
    #: As the file names it, such as `BF16` or `Q4_K`.
    dtype: str
    #: Outermost dimension first, as in torch.
    shape: tuple[int, ...]

    @property
    def parameters(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes, if the file is safetensors."""
        return self.parameters * _bits(self.dtype) // 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a weight file says of itself."""

    format: Literal["safetensors", "gguf"]
    tensors: dict[str, Tensor]
    #: Texts; of GGUF the values that are no lists.
    metadata: dict[str, str] = field(default_factory=dict)

    def below(self, prefix: str) -> Header:
        """Only the tensors whose names begin with `prefix`, without it."""
        tensors = {k.removeprefix(prefix): t for k, t in self.tensors.items() if k.startswith(prefix)}
        return replace(self, tensors=tensors)


def read_header(file: Path) -> Header:
    """The header of a file on this machine. Raises Invalid as `parse_header`."""
    if not file.is_file():
        raise Invalid(f"{file}: no such file")
    with file.open("rb") as opened:

        def read(start: int, length: int) -> bytes:
            opened.seek(start)
            return opened.read(length)

        return parse_header(read, file.stat().st_size, str(file))


def parse_header(read: Read, size: int, name: str) -> Header:
    """The header of a file of `size` bytes. Raises Invalid, with the remedy, if it is no complete
    safetensors or GGUF file."""
    start = read(0, 16)
    if start[:4] == b"GGUF":
        return _gguf(_Cursor(read, size, name), size, name)
    refuse_other_files(start, name)
    if len(start) < 8:
        _refuse(name, f"has only {len(start)} bytes, so it is no weight file")
    length = int.from_bytes(start[:8], "little")
    if start[8:9] != b"{":
        _refuse(name, "is neither safetensors nor GGUF")
    if length > _LONGEST_HEADER:
        _refuse(name, f"claims a header of {format_gib(length)}, so it is damaged")
    if 8 + length > size:
        _refuse(name, f"is incomplete: its header ends at byte {8 + length:,}, the file at {size:,}")
    return _safetensors(read(8, length), size - 8 - length, name)


def refuse_other_files(start: bytes, name: str) -> None:
    """Raises Invalid if the first bytes, or the name, are those of a pickle or a web page."""
    # The length of a safetensors header can begin with the same byte as those.
    is_safetensors = start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= _LONGEST_HEADER
    is_pickle = start[:1] == b"\x80" or start[:2] == b"PK"
    if Path(name).suffix in PICKLES or (is_pickle and not is_safetensors):
        raise Invalid(
            f"{name} is a pickle, which can run code and is never opened; "
            "look for a .safetensors file of the same model, or convert it: "
            "docs/how-to/add-a-model.md has the commands"
        )
    if start.lstrip()[:1] == b"<" and not is_safetensors:
        raise Invalid(
            f"{name} is a web page instead of weights; the site may require a login: "
            "download the file in a browser, then add it"
        )
    if start.startswith(b"version https:/"):
        raise Invalid(f"{name} is a Git LFS pointer instead of weights; run `git lfs pull` in its folder")


def _refuse(name: str, why: str) -> NoReturn:
    raise Invalid(f"{name} {why}; download it again")


def _safetensors(text: bytes, data: int, name: str) -> Header:
    try:
        said = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        _refuse(name, "has a damaged header")
    if not isinstance(said, dict):
        _refuse(name, "has a damaged header")
    metadata = said.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        _refuse(name, "has damaged metadata")
    tensors, end = {}, 0
    for key, value in said.items():
        tensor, its_end = _tensor(value, name, key)
        tensors[key], end = tensor, max(end, its_end)
    if end > data:
        _refuse(name, f"is incomplete: {format_gib(data)} of {format_gib(end)} of weights are there")
    return Header(
        format="safetensors",
        tensors=tensors,
        metadata={key: value for key, value in metadata.items() if isinstance(value, str)},
    )


def _no_constant(word: str) -> NoReturn:
    raise ValueError(word)


def _tensor(value: Any, name: str, key: str) -> tuple[Tensor, int]:
    """The tensor and where its bytes end."""
    try:
        dtype, shape, (start, end) = value["dtype"], value["shape"], value["data_offsets"]
    except (TypeError, KeyError, ValueError):
        _refuse(name, f"has a damaged header: {_short(key)} lacks its dtype, shape or place")
    numbers = [*shape, start, end] if isinstance(shape, list) else [None]
    whole = all(type(number) is int and 0 <= number < 1 << 48 for number in numbers)
    if (
        not whole
        or len(shape) > _MOST_DIMENSIONS
        or not isinstance(dtype, str)
        or not _DTYPE.fullmatch(dtype)
    ):
        _refuse(name, f"has a damaged header: {_short(key)} has an impossible dtype, shape or place")
    if (end - start) * 8 != math.prod(shape) * _bits(dtype):
        _refuse(name, f"has a damaged header: {_short(key)} has the wrong number of bytes")
    return Tensor(dtype, tuple(shape)), end


def _bits(dtype: str) -> int:
    return int(found[0]) if (found := _BITS.search(dtype)) else 8


def _short(key: str) -> str:
    return f"`{key[:80]}`"


class _Cursor:
    """Reads a header from its start, a chunk at a time."""

    def __init__(self, read: Read, size: int, name: str) -> None:
        self._read, self._size, self._name = read, size, name
        self._held, self._from = b"", 0
        self.place = 0

    def take(self, length: int) -> bytes:
        if self.place + length > min(self._size, _LONGEST_HEADER):
            _refuse(self._name, "is an incomplete or damaged GGUF file")
        begin = self.place - self._from
        if begin + length > len(self._held):
            self._held, self._from, begin = self._read(self.place, max(length, _CHUNK)), self.place, 0
        self.place += length
        taken = self._held[begin : begin + length]
        if len(taken) < length:
            _refuse(self._name, "is an incomplete or damaged GGUF file")
        return taken

    def number(self, code: str = "Q") -> Any:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def count(self) -> int:
        found = int(self.number())
        if found > _MOST_ENTRIES:
            _refuse(self._name, "is an incomplete or damaged GGUF file")
        return found

    def text(self) -> str:
        return self.take(self.count()).decode(errors="replace")


def _gguf(cursor: _Cursor, size: int, name: str) -> Header:
    cursor.take(4)
    version = cursor.number("I")
    if version not in (2, 3):
        _refuse(name, f"is GGUF of version {version}; versions 2 and 3 are known")
    tensors_count, entries = cursor.count(), cursor.count()
    metadata = {}
    for _ in range(entries):
        key = cursor.text()
        value = _gguf_value(cursor, cursor.number("I"), name)
        if value is not None:
            metadata[key] = str(value)
    tensors, end = {}, 0
    for _ in range(tensors_count):
        key = cursor.text()
        tensor, its_end = _gguf_tensor(cursor, name, key)
        tensors[key], end = tensor, max(end, its_end)
    alignment = metadata.get("general.alignment", "")
    block = int(alignment) if alignment.isdigit() and 0 < int(alignment) < 1 << 20 else 32
    start = -(-cursor.place // block) * block
    if tensors and start + end > size:
        _refuse(name, f"is incomplete: {format_gib(size)} of {format_gib(start + end)} are there")
    return Header(format="gguf", tensors=tensors, metadata=metadata)


def _gguf_value(cursor: _Cursor, kind: int, name: str) -> object:
    """The value; None for a list."""
    if kind == _GGUF_TEXT:
        return cursor.text()
    if kind in _GGUF_VALUES:
        return cursor.number(_GGUF_VALUES[kind])
    if kind != _GGUF_LIST:
        _refuse(name, "is a damaged GGUF file")
    items, count = cursor.number("I"), cursor.count()
    if items == _GGUF_TEXT:
        for _ in range(count):
            cursor.text()
    elif items in _GGUF_VALUES:
        cursor.take(count * struct.calcsize(f"<{_GGUF_VALUES[items]}"))
    else:
        _refuse(name, "is a damaged GGUF file")
    return None


def _gguf_tensor(cursor: _Cursor, name: str, key: str) -> tuple[Tensor, int]:
    dimensions = cursor.number("I")
    if dimensions > _MOST_DIMENSIONS:
        _refuse(name, "is a damaged GGUF file")
    shape = tuple(reversed([int(cursor.number()) for _ in range(dimensions)]))
    kind, offset = cursor.number("I"), int(cursor.number())
    if kind not in GGML_TYPES:
        raise Invalid(
            f"{name} holds {_short(key)} in GGML type {kind}, which is not supported; "
            "use a Q8_0, Q5_K or Q4_K file"
        )
    dtype, weights, size = GGML_TYPES[kind]
    return Tensor(dtype, shape), offset + math.prod(shape) // weights * size

"""Where an image file ends by its own format, so that nothing can ride behind it."""

from __future__ import annotations

import struct

_PNG_HEAD = 8
#: Length, type and checksum around the data of a PNG chunk.
_PNG_FRAME = 12
_PNG_CHUNK = struct.Struct(">I4s")
_RIFF = struct.Struct("<4sI")
_JPEG_LENGTH = struct.Struct(">H")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
#: Markers without data: restarts, and one for encoders' private use.
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD8)})


def end_of(data: bytes, image_format: str) -> int:
    """Bytes that a PNG, WEBP or JPEG file takes; `data` may go on behind it.

    Raises ValueError or struct.error where the file does not hold together.
    """
    match image_format:
        case "PNG":
            return _end_of_png(data)
        case "WEBP":
            _, size = _RIFF.unpack_from(data)
            # Chunks are padded to an even length.
            return int(_RIFF.size + size + size % 2)
        case "JPEG":
            return _end_of_jpeg(data)
        case other:
            raise ValueError(f"no format of uploads: {other}")


def _end_of_png(data: bytes) -> int:
    at, kind = _PNG_HEAD, b""
    while kind != b"IEND":
        length, kind = _PNG_CHUNK.unpack_from(data, at)
        at += _PNG_FRAME + length
    return at


def _end_of_jpeg(data: bytes) -> int:
    """Segment by segment; the pixels of a scan have no length and end at the next marker."""
    at = 2
    while True:
        at, marker = _next_marker(data, at)
        if marker == _END_OF_IMAGE:
            return at
        if marker not in _JPEG_BARE:
            at += _JPEG_LENGTH.unpack_from(data, at)[0]
        if marker == _START_OF_SCAN:
            at = _end_of_scan(data, at)


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    """The marker at `at`, where any number of FF may fill, and the place behind it."""
    if data[at : at + 1] != b"\xff":
        raise ValueError("a JPEG segment does not begin with a marker")
    while data[at : at + 1] == b"\xff":
        at += 1
    (marker,) = struct.unpack_from("B", data, at)
    return at + 1, marker


def _end_of_scan(data: bytes, at: int) -> int:
    while True:
        at = data.index(b"\xff", at)
        # FF 00 is a pixel byte FF; restarts belong to the scan.
        if data[at + 1 : at + 2] != b"\0" and data[at + 1] not in _JPEG_BARE:
            return at
        at += 2

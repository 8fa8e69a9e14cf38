"""Whether a file is put together as encoders do it, before a decoder reads it.

Decoders walk through the parts of a file one by one, in Python up to the pixels. A hostile file has millions
of them, or makes a decoder paint the picture again and again.
"""

from __future__ import annotations

from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
#: Parts of a file besides its pixels; and bytes of a file for each of those with its pixels, at the least.
_PARTS, _PIXEL_PART = 64, 1024
#: Times that a progressive JPEG paints the whole picture; encoders write about ten.
_SCANS = 64


def malformed(data: bytes) -> str | None:
    """Why no decoder should read the file, as a sentence without a full stop; None if one may."""
    if data.startswith(_PNG):
        return _malformed_png(data)
    return _malformed_jpeg(data) if data.startswith(_JPEG) else None


def _malformed_png(data: bytes) -> str | None:
    other = pixels = 0
    for kind in _chunks(data):
        pixels += kind == b"IDAT"
        other += kind != b"IDAT"
        if other > _PARTS or pixels > _PARTS + len(data) // _PIXEL_PART:
            return "the upload is a PNG file with more chunks than encoders write"
    return None


def _chunks(data: bytes) -> Iterator[bytes]:
    """The kinds of chunks of a PNG file up to its end, or to where it breaks off."""
    at, kind = len(_PNG), b""
    while at + 8 <= len(data) and kind != b"IEND":
        kind = data[at + 4 : at + 8]
        yield kind
        at += 12 + int.from_bytes(data[at : at + 4], "big")


def _malformed_jpeg(data: bytes) -> str | None:
    at = len(_JPEG)
    for _ in range(_PARTS):
        mark, kind = data[at : at + 1], data[at + 1 : at + 2]
        if kind == b"\xda" or len(data) < at + 4:
            scans = data.count(b"\xff\xda", at)
            return "the upload is a JPEG file with more scans than encoders write" if scans > _SCANS else None
        # Markers without a length, and bytes between segments, do not come before the pixels.
        if mark != b"\xff" or not (b"\xc0" <= kind < b"\xd0" or b"\xdb" <= kind < b"\xff"):
            return "the upload is a JPEG file with other bytes between its segments than encoders write"
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return "the upload is a JPEG file with more segments than encoders write"

"""Texts in EXIF: user comments and descriptions, where JPEG and WebP images store their settings."""

from __future__ import annotations

import struct
from collections.abc import Iterator

#: ImageDescription, Make and Model, where some programs store JSON; XPComment.
_TEXTS = (0x010E, 0x010F, 0x0110, 0x9C9C)
_SUB_IFD = 0x8769
_USER_COMMENT = 0x9286
#: Maximum entries of one directory; real ones have a few dozen.
_MAX_ENTRIES = 1000
_BYTES_PER_VALUE = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1}


def texts(exif: bytes) -> Iterator[str]:
    """The texts of an EXIF block, the user comment first; none if the block is malformed."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return
    found = dict(_entries(exif, order, struct.unpack_from(f"{order}I", exif, 4)[0]))
    below = found.get(_SUB_IFD)
    if below is not None and len(below) == 4:
        inner = dict(_entries(exif, order, struct.unpack(f"{order}I", below)[0]))
        if _USER_COMMENT in inner:
            yield _comment(inner[_USER_COMMENT], order)
    for tag in _TEXTS:
        if tag in found:
            yield _decoded(found[tag], "utf-16-le" if tag == 0x9C9C else "utf-8")


def _entries(exif: bytes, order: str, start: int) -> Iterator[tuple[int, bytes]]:
    if not 8 <= start <= len(exif) - 2:
        return
    count = min(struct.unpack_from(f"{order}H", exif, start)[0], _MAX_ENTRIES)
    for at in range(start + 2, min(start + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind, number = struct.unpack_from(f"{order}HHI", exif, at)
        size = _BYTES_PER_VALUE.get(kind, 0) * number
        offset = at + 8 if size <= 4 else struct.unpack_from(f"{order}I", exif, at + 8)[0]
        if size and offset + size <= len(exif):
            yield tag, exif[offset : offset + size]


def _comment(value: bytes, order: str) -> str:
    """Decodes a user comment; its first eight bytes name the encoding, but the byte order varies."""
    mark, text = value[:8], value[8:]
    if mark.startswith(b"UNICODE"):
        if text.startswith((b"\xff\xfe", b"\xfe\xff")):
            return _decoded(text, "utf-16")
        likely = ("utf-16-be", "utf-16-le") if order == ">" else ("utf-16-le", "utf-16-be")
        return max((_decoded(text, each) for each in likely), key=_likeness)
    if mark.startswith((b"ASCII", b"\0\0\0\0")):
        return _decoded(text, "utf-8")
    return _decoded(value, "utf-8")


def _likeness(text: str) -> int:
    """Number of ASCII characters; settings decoded in the wrong byte order are mostly CJK characters."""
    return sum(char.isascii() and (char.isprintable() or char == "\n") for char in text[:2000])


def _decoded(value: bytes, encoding: str) -> str:
    return value.decode(encoding, errors="replace").rstrip("\0").strip()

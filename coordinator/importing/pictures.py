"""Settings in the metadata of PNG, JPEG and WebP images, by the program that wrote them."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import unescape

from common.infotext import FARM_KEY, INFOTEXT_KEY
from coordinator.importing import a1111, comfyui, exif, invokeai, ours, swarmui
from coordinator.importing.imported import Account, Source, UnusableSource

#: Maximum characters of one unpacked text; settings have thousands, graphs hundreds of thousands.
MAX_TEXT = 8 * 1024 * 1024
_PNG = b"\x89PNG\r\n\x1a\n"
_XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
_FARM_XMP = re.compile(rf"<{FARM_KEY}:shot>(.*?)</{FARM_KEY}:shot>", re.DOTALL)

_NOTHING = (
    "contains no settings that can be imported (images of A1111, Forge, InvokeAI, SwarmUI, ComfyUI and this "
    "farm contain them unless another program has removed them)"
)


def is_picture(content: bytes) -> bool:
    return content.startswith((_PNG, b"\xff\xd8\xff")) or (
        content.startswith(b"RIFF") and content[8:12] == b"WEBP"
    )


def settings(content: bytes, account: Account) -> Source:
    """The settings of an image. Raises UnusableSource if it contains none that can be read."""
    texts = dict(_texts(content))
    for key, read in _READERS.items():
        if key in texts and (found := read(texts[key], account)) is not None:
            return found
    raise UnusableSource(_NOTHING)


def shot_id(content: bytes) -> str | None:
    """ID of the shot in the metadata that farms write; None if the image has none."""
    try:
        found = _json(dict(_texts(content)).get(FARM_KEY, ""))
    except UnusableSource:
        return None
    said = found.get("id") if isinstance(found, dict) else None
    return said if isinstance(said, str) and re.fullmatch(r"[0-9a-f]{64}", said) else None


def _texts(content: bytes) -> Iterator[tuple[str, str]]:
    if content.startswith(_PNG):
        yield from _png_texts(content)
        return
    blocks = _jpeg_blocks(content) if content.startswith(b"\xff\xd8") else _webp_blocks(content)
    for kind, block in blocks:
        if kind == "xmp":
            if found := _FARM_XMP.search(block[:MAX_TEXT].decode("utf-8", errors="replace")):
                yield FARM_KEY, unescape(found[1])
            continue
        for text in exif.texts(block[:MAX_TEXT]):
            yield _named(text)


def _named(text: str) -> tuple[str, str]:
    """An EXIF text by the key that it would have in a PNG; some programs write `workflow:{…}`."""
    key, colon, rest = text.partition(":")
    if colon and key.lower() in ("workflow", "prompt") and rest.lstrip().startswith("{"):
        return key.lower(), rest
    return INFOTEXT_KEY, text


def _png_texts(content: bytes) -> Iterator[tuple[str, str]]:
    at = len(_PNG)
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        data = content[at + 8 : at + 8 + length] if kind in (b"tEXt", b"zTXt", b"iTXt") else b""
        if at + 12 + length > len(content) and kind != b"IEND":
            raise UnusableSource("is a truncated PNG; download or copy it again")
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            yield _png_text(kind, data)
        elif kind == b"eXIf":
            for text in exif.texts(content[at + 8 : at + 8 + length]):
                yield _named(text)
        at += 12 + length


def _png_text(kind: bytes, data: bytes) -> tuple[str, str]:
    key, _, rest = data.partition(b"\0")
    name = key.decode("latin-1")
    if kind == b"tEXt":
        # The standard requires Latin-1, but some programs write UTF-8.
        return name, _utf8_or_latin(rest)
    if kind == b"zTXt":
        return name, _utf8_or_latin(_unpacked(rest[1:]))
    is_packed, rest = rest[:1] == b"\1", rest[2:]
    _, _, rest = rest.partition(b"\0")
    _, _, rest = rest.partition(b"\0")
    return name, (_unpacked(rest) if is_packed else rest).decode("utf-8", errors="replace")


def _utf8_or_latin(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _unpacked(data: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(data, MAX_TEXT)
    except zlib.error:
        raise UnusableSource("is a damaged PNG with unreadable texts; download or copy it again") from None
    if unpacking.unconsumed_tail:
        raise UnusableSource(
            f"contains a text of more than {MAX_TEXT // 1024**2} MiB, which cannot be settings"
        )
    return found


def _jpeg_blocks(content: bytes) -> Iterator[tuple[str, bytes]]:
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], struct.unpack_from(">H", content, at + 2)[0]
        if marker == 0xDA:
            return
        data = content[at + 4 : at + 2 + length]
        if marker == 0xE1 and data.startswith(b"Exif\0\0"):
            yield "exif", data
        elif marker == 0xE1 and data.startswith(_XMP_HEAD):
            yield "xmp", data.removeprefix(_XMP_HEAD)
        at += 2 + length


def _webp_blocks(content: bytes) -> Iterator[tuple[str, bytes]]:
    at = 12
    while at + 8 <= len(content):
        kind, length = content[at : at + 4], struct.unpack_from("<I", content, at + 4)[0]
        if kind == b"EXIF":
            yield "exif", content[at + 8 : at + 8 + length]
        elif kind == b"XMP ":
            yield "xmp", content[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return None


def _of_farm(text: str, account: Account) -> Source | None:
    return ours.record(_json(text), account)


def _of_invokeai(text: str, account: Account) -> Source | None:
    data = _json(text)
    return invokeai.metadata(data, account) if isinstance(data, dict) else None


def _of_comfyui(text: str, account: Account) -> Source | None:
    data = _json(text)
    return comfyui.workflow(data, account) if comfyui.is_workflow(data) else None


def _of_parameters(text: str, account: Account) -> Source | None:
    """The text of A1111, or the JSON that SwarmUI and Fooocus write instead."""
    if not text.lstrip().startswith("{"):
        return a1111.infotext(text, account) if a1111.is_infotext(text) else None
    data = _json(text)
    if not isinstance(data, dict):
        return None
    if isinstance(data.get(swarmui.KEY), dict):
        return swarmui.parameters(data[swarmui.KEY], account)
    return a1111.fooocus(data, account) if "prompt" in data else None


#: Readers by the key of a text, most reliable first.
_READERS = {
    FARM_KEY: _of_farm,
    invokeai.KEY: _of_invokeai,
    INFOTEXT_KEY: _of_parameters,
    "prompt": _of_comfyui,
    "workflow": _of_comfyui,
    "Comment": _of_parameters,
}

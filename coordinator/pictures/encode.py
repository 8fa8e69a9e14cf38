"""The final bytes of a picture: the same every time, with its settings where the shot wants them."""

from __future__ import annotations

import io

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from common.infotext import FARM_KEY, INFOTEXT_KEY
from common.shot import Shot
from coordinator.pictures.marks import MARK, PNG_KEY, marked

CONTENT_TYPES = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}
_EXIF_IFD = 0x8769
_USER_COMMENT = 0x9286
#: Bytes that one JPEG segment holds, less its own headers.
_JPEG_SEGMENT = 65_000


def encoded(picture: Image.Image, shot: Shot, *, infotext: str, record: str) -> bytes:
    """`picture` in the shot's format and quality.

    Every file has the mark of what models make (XMP). With the shot's `metadata`, `infotext` and the farm's
    JSON `record` go into PNG text chunks, elsewhere into EXIF's UserComment and XMP; what one JPEG segment
    cannot hold is left out.
    """
    out = io.BytesIO()
    match shot.format:
        case "png":
            picture.save(out, "PNG", pnginfo=_png_text(shot, infotext, record))
        case "webp":
            picture.save(out, "WEBP", quality=shot.quality, method=4, **_tags(shot, infotext, record))
        case "jpeg":
            tags = _tags(shot, infotext, record)
            fitting = {name: tag for name, tag in tags.items() if len(tag) < _JPEG_SEGMENT}
            picture.save(out, "JPEG", quality=shot.quality, subsampling=0, **({"xmp": MARK} | fitting))
        case other:
            raise AssertionError(f"no encoder for {other}")
    return out.getvalue()


def _png_text(shot: Shot, infotext: str, record: str) -> PngInfo:
    info = PngInfo()
    if shot.metadata:
        info.add_text(INFOTEXT_KEY, infotext)
        info.add_text(FARM_KEY, record)
    info.add_itxt(PNG_KEY, MARK.decode())
    return info


def _tags(shot: Shot, infotext: str, record: str) -> dict[str, bytes]:
    if not shot.metadata:
        return {"xmp": MARK}
    exif = Image.Exif()
    # The EXIF standard names the text's encoding in its first eight bytes.
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"UNICODE\0" + infotext.encode("utf-16-be")
    return {"exif": exif.tobytes(), "xmp": marked(record)}

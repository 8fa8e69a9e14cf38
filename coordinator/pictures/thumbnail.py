"""Small copies of stored images for pages: made by ingest, or when one is missing; deleted with the image."""

from __future__ import annotations

import io

from PIL import Image

from common.errors import NotFound
from common.storage import Store
from coordinator.pictures.exporting import exports_prefix
from coordinator.pictures.marks import MARK

CONTENT_TYPE = "image/webp"
#: Pixels of the longer side: twice those of a tile, for fine screens.
SIDE = 384
_QUALITY = 80
#: Bytes; a thumbnail of noise has a quarter.
_MOST_BYTES = 512 * 1024


def thumbnail_key(image_key: str) -> str:
    """Where the thumbnail of the image at a key of the store lies."""
    return f"{exports_prefix(image_key)}thumbnail.webp"


def store_thumbnail(picture: Image.Image, image_key: str, store: Store) -> bytes:
    """Store the thumbnail of an image, unless there is one, and return it."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=_QUALITY, method=4, xmp=MARK)
    data = out.getvalue()
    store.create(thumbnail_key(image_key), data, content_type=CONTENT_TYPE, metadata={})
    return data


def thumbnail(image_key: str, size: int, store: Store) -> bytes:
    """The thumbnail of an image of `size` bytes, made if ingest made none. Raises NotFound or Unavailable."""
    try:
        return store.read(thumbnail_key(image_key), limit=_MOST_BYTES)
    except NotFound:
        with Image.open(io.BytesIO(store.read(image_key, limit=size))) as stored:
            return store_thumbnail(stored, image_key, store)

"""From pixels to image files, beside the render path so that the next pass need not wait."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from PIL import Image as Pillow

from common.infotext import SHOT_TAG
from common.shot import Shot
from gpu_node import protocol

_TYPES: dict[str, Literal["image/png", "image/webp", "image/jpeg"]] = {
    "png": "image/png",
    "webp": "image/webp",
    "jpeg": "image/jpeg",
}


def encode_image(image: Pillow.Image, format_: str, quality: int, *, shot_id: str) -> bytes:
    """The image as a PNG, WebP or JPEG file that names its shot, so that ingest sees a mix-up.

    The same pixels of the same shot give the same bytes. `quality` is 1-100.
    """
    out = io.BytesIO()
    exif = Pillow.Exif()
    exif[SHOT_TAG] = shot_id
    match format_:
        case "png":
            image.save(out, "PNG", exif=exif)
        case "webp":
            image.save(out, "WEBP", quality=quality, exif=exif)
        case "jpeg":
            image.save(out, "JPEG", quality=quality, subsampling="4:4:4", exif=exif)
        case _:
            raise ValueError(f"no such image format: {format_}")
    return out.getvalue()


class Saver:
    """Encodes images into files of the spool folder, one after the other, on its own thread."""

    def __init__(self, spool: Path, emit: Callable[[protocol.Event], None]) -> None:
        self._spool = spool
        self._emit = emit
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="saver")

    def save(self, shot_id: str, shot: Shot, image: Pillow.Image) -> None:
        """Emit an `Image` event once the file is written, or `Failed` for the shot."""
        self._thread.submit(self._save, shot_id, shot, image)

    def _save(self, shot_id: str, shot: Shot, image: Pillow.Image) -> None:
        start = time.monotonic()
        file = self._spool / f"{shot_id}.{shot.format}"
        try:
            data = encode_image(image, shot.format, shot.quality, shot_id=shot_id)
        except Exception as error:  # whatever it is, a shot that is never told of would stall its batch
            self._fail(shot_id, "render_error", f"the image cannot be encoded as {shot.format}: {error}")
            return
        try:
            file.write_bytes(data)
        except OSError as error:
            # Half a file would only take room.
            file.unlink(missing_ok=True)
            self._fail(
                shot_id, "disk_full", f"cannot write {file} ({error.strerror}): free space on that disk"
            )
            return
        self._emit(
            protocol.Image(
                shot_id=shot_id,
                sha256=hashlib.sha256(data).hexdigest(),
                size=len(data),
                content_type=_TYPES[shot.format],
                save_s=time.monotonic() - start,
            )
        )

    def _fail(self, shot_id: str, kind: str, message: str) -> None:
        self._emit(protocol.Failed(kind=kind, message=message, shot_id=shot_id))

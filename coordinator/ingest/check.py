"""Whether an upload is the picture that was asked for. Its sender may be broken or hostile."""

from __future__ import annotations

import hashlib
import io
import threading
from dataclasses import dataclass

from PIL import Image, ImageStat, UnidentifiedImageError

from common.shot import Shot

#: The only decoders that ever see an upload.
FORMATS = ("PNG", "WEBP", "JPEG")

#: Grey levels of standard deviation below which nothing is to be seen.
_FLAT_BELOW = 1.0
_BLACK_BELOW = 8

# Pillow keeps the limit in a global.
_opening = threading.Lock()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an upload is not the picture."""

    #: A kind of `common.failures`.
    failure: str
    message: str


def checked(data: bytes, shot: Shot, *, sha256: str) -> Image.Image | Refusal:
    """The fully decoded picture as bare RGB pixels, with nothing else of what was uploaded."""
    if hashlib.sha256(data).hexdigest() != sha256:
        return Refusal("wrong_image", "the uploaded bytes do not have the hash that was reported")
    try:
        with _open(data, shot.width * shot.height) as image:
            if image.size != (shot.width, shot.height):
                return Refusal(
                    "wrong_image",
                    f"the picture is {image.width}x{image.height}, asked for was {shot.width}x{shot.height}",
                )
            if getattr(image, "n_frames", 1) != 1:
                return Refusal("not_an_image", "the upload is an animation")
            image.load()
            # Copied pixel by pixel: no profile, text or comment of the sender survives.
            picture = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Refusal("wrong_image", f"the picture has more pixels than {shot.width}x{shot.height}")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        return Refusal("not_an_image", f"the upload does not decode as a picture: {error}")
    return _refusal_of_emptiness(picture) or picture


def _open(data: bytes, max_pixels: int) -> Image.Image:
    with _opening:
        usual = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            return Image.open(io.BytesIO(data), formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = usual


def _refusal_of_emptiness(picture: Image.Image) -> Refusal | None:
    """NaN in half precision decodes to black, a broken VAE to one flat colour."""
    stat = ImageStat.Stat(picture)
    if max(high for _, high in stat.extrema) < _BLACK_BELOW:
        return Refusal("blank_image", "the picture is black, as if the model had computed NaN")
    if max(stat.stddev) < _FLAT_BELOW:
        return Refusal("blank_image", "the picture is one flat colour")
    return None

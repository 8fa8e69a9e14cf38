"""Whether an upload is the picture that was asked for. Its sender may be broken or hostile."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

from PIL import Image, ImageStat

from common.infotext import SHOT_TAG
from common.shot import Shot
from coordinator.ingest.structure import malformed

#: The only decoders that ever see an upload.
FORMATS = ("PNG", "WEBP", "JPEG")

#: Characters of a decoder's own words that are told on.
_LONG = 300

#: Grey levels of standard deviation below which nothing is to be seen.
_FLAT_BELOW = 1.0
_BLACK_BELOW = 8

# Pillow's limit is the same for all files of a process; here each has its own, which is compared before a
# pixel is decoded.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class BadUpload:
    """Why an upload is not the picture."""

    #: A kind of `common.failures`.
    failure: str
    message: str


def checked(data: bytes, shot: Shot, *, sha256: str) -> Image.Image | BadUpload:
    """The fully decoded picture as bare RGB pixels, with nothing else of what was uploaded."""
    if hashlib.sha256(data).hexdigest() != sha256:
        return BadUpload("wrong_checksum", "SHA-256 mismatch between the upload and the report")
    if reason := malformed(data):
        return BadUpload("not_an_image", reason)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            refusal = _refusal_of_form(image, shot)
            if refusal:
                return refusal
            image.load()
            refusal = _refusal_of_name(image, shot)
            if refusal:
                return refusal
            # Copied pixel by pixel: no profile, text or comment of the sender survives.
            picture = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())
    except Exception as error:
        # Decoders meet hostile bytes with whatever error they come upon.
        return BadUpload("not_an_image", f"the upload cannot be decoded as an image: {error}"[:_LONG])
    return _refusal_of_emptiness(picture) or picture


def _size(shot: Shot) -> str:
    width, height = shot.final_size
    return f"{width}x{height}"


def _refusal_of_form(image: Image.Image, shot: Shot) -> BadUpload | None:
    """What the header tells, before a pixel is decoded."""
    if image.size != shot.final_size:
        return BadUpload(
            "wrong_size", f"the image is {image.width}x{image.height}, but the shot requests {_size(shot)}"
        )
    if getattr(image, "n_frames", 1) != 1:
        return BadUpload("not_an_image", "the upload is an animation")
    # PNG loses nothing, so it does for every format.
    if image.format not in ("PNG", shot.format.upper()):
        return BadUpload(
            "wrong_format", f"the upload is a {image.format} file, but the shot requests {shot.format}"
        )
    return None


def _refusal_of_name(image: Image.Image, shot: Shot) -> BadUpload | None:
    """The engine writes the ID of the shot into the file; a file without one is accepted."""
    named = image.getexif().get(SHOT_TAG, shot.id)
    if named != shot.id:
        return BadUpload(
            "wrong_shot",
            f"the upload contains shot {str(named)[:12]}, but was reported as {shot.id[:12]}",
        )
    return None


def _refusal_of_emptiness(picture: Image.Image) -> BadUpload | None:
    """NaN in half precision decodes to black, a broken VAE to one flat colour."""
    stat = ImageStat.Stat(picture)
    if max(high for _, high in stat.extrema) < _BLACK_BELOW:
        return BadUpload("black_image", "the image is black, possibly because the model computed NaN values")
    if max(stat.stddev) < _FLAT_BELOW:
        return BadUpload("flat_image", "the image is a single flat colour")
    return None

"""Files of images: where they are, and whether what arrived is the file."""

from __future__ import annotations

from hashlib import sha256

import httpx

from common.errors import Gone, NotFound, Unavailable
from common.views import ImageView

#: Seconds for an image or a file.
FETCH_TIMEOUT_S = 60.0


def url_of(image: ImageView) -> str:
    if image.url is None:
        why = f": {image.message}" if image.message else ""
        raise NotFound(f"image {image.name} is {image.state}, not stored{why}")
    return image.url


def not_fetched(image: ImageView, error: Exception) -> Unavailable:
    reason = (str(error) or type(error).__name__).rpartition("] ")[2]
    return Unavailable(f"image {image.name} cannot be fetched ({reason}); try again")


def checked(image: ImageView, answer: httpx.Response) -> bytes:
    if answer.status_code in (401, 403, 404, 410):
        raise Gone(f"the URL of image {image.name} has expired; ask the farm for the image again")
    if not answer.is_success:
        raise Unavailable(f"image {image.name} cannot be fetched (status {answer.status_code}); try again")
    if sha256(answer.content).hexdigest() != image.sha256:
        raise Unavailable(f"image {image.name} arrived damaged; fetch it again")
    return answer.content

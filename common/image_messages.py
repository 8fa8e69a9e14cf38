"""Messages about single images: each is a job of one shot, without a manifest to write."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from common.errors import Invalid
from common.messages import Message
from common.views import ImageView
from common.wording import shortened, suggestion

#: Seconds that a call may wait for images.
LONGEST_WAIT_S = 600
#: Characters of a text, and LoRAs of an image; a manifest allows no more characters in a prompt either.
_TEXT = 20_000
_LORAS = 20


class LoraWish(Message):
    """A LoRA by its name in the catalog."""

    name: str
    weight: float = 1.0
    #: That for the text encoders; None: the same.
    text_weight: float | None = None


class NewImage(Message):
    """POST /v1/images: the settings of a shot, named as in a manifest. None: the default of the model."""

    model: str
    #: As in a manifest: `{trigger}` stands for trigger words, `{red|blue}` draws one of them.
    prompt: Annotated[str, Field(max_length=_TEXT)]
    negative: Annotated[str | None, Field(max_length=_TEXT)] = None
    #: Such as `832x1216`.
    size: str | None = None
    #: Such as `2:3`; instead of `size`.
    aspect: str | None = None
    #: With `aspect`.
    megapixels: float | None = None
    steps: int | None = None
    guidance: float | None = None
    #: None: random.
    seed: Annotated[int | None, Field(ge=0, lt=2**63)] = None
    sampler: str | None = None
    #: `ana@0.8`, or name and weight.
    loras: Annotated[tuple[str | LoraWish, ...], Field(max_length=_LORAS)] = ()
    #: Name of an upscaler in the catalog.
    upscale: str | None = None
    format: Literal["png", "webp", "jpeg"] = "png"
    #: Name of the job.
    name: str = "image"
    lane: str | None = None
    priority: int | None = None
    #: In the currency of the farm.
    max_cost: float | None = None
    #: Whose image it is, for keys that submit for others.
    owner: str | None = None


def new_image(**settings: Any) -> NewImage:
    """An image with these settings. Raises Invalid with a sentence that names each wrong one."""
    try:
        return NewImage(**settings)
    except ValidationError as error:
        raise Invalid(f"image: {'; '.join(map(_wrong, error.errors()))}") from None


def _wrong(error: ErrorDetails) -> str:
    place = ".".join(shortened(str(part)) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"unknown setting `{place}`{suggestion(place, NewImage.model_fields)}"
    if error["type"] == "string_too_long":
        most = f"{error['ctx']['max_length']:,} characters"
        # Doors of other programs write a brace as two characters.
        return f"{place} is longer than {most}, where a brace may count as two: shorten it"
    if error["type"] == "too_long":
        most, given = error["ctx"]["max_length"], error["ctx"]["actual_length"]
        return f"{place} has {given} entries: at most {most} are allowed"
    return f"{place}: {error['msg'][:1].lower()}{error['msg'][1:]}"


class OrderedImage(ImageView):
    """POST /v1/images, GET /v1/images/{id}: an image and how far it is."""

    #: That of its job, with which every verb of jobs works.
    id: str
    #: Status of the job: `waiting`, `running`, `paused`, `cancelled`, `done`, `withheld`, `failed`,
    #: `unschedulable`.
    status: str
    #: From 0 to 1: the time that has passed, of all that it is expected to take.
    progress: float
    #: Estimated seconds until it is done, including what is rendered before it; None if unknown.
    eta_s: float | None
    currency: str
    #: Why it waits or failed, and what to do about it; empty while it is rendered and when it is done.
    explanation: str = ""
    remedy: str = ""
    #: When `url` expires, in seconds since 1970.
    url_expires_at: float | None = None

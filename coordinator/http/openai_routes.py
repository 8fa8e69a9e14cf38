"""Images for clients of OpenAI's API: POST /v1/images/generations."""
# https://platform.openai.com/docs/api-reference/images/create

from __future__ import annotations

import time
from base64 import b64encode
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from common.errors import FarmError, Forbidden, TooMany, Unauthorised
from common.image_messages import new_image
from common.views import ImageView
from coordinator.farm import Farm
from coordinator.http import ordered_images
from coordinator.http.access import TheAct, TheCaller, TheFarm, allow
from coordinator.http.requests import TheRequest
from coordinator.importing.texts import literal

router = APIRouter(prefix="/v1")

PATH = "/v1/images/generations"
#: What clients take as the kind of an error.
_TYPES = {Unauthorised: "authentication_error", Forbidden: "permission_error", TooMany: "rate_limit_error"}


class Generation(BaseModel):
    """POST /v1/images/generations: OpenAI's request for images. Other fields are not looked at."""

    model_config = ConfigDict(extra="ignore")

    #: Braces are no variants here; `__name__` and `<lora:x:1>` are refused.
    prompt: Annotated[str, Field(min_length=1, max_length=20_000)]
    #: Of the catalog; None: the first that a node offers.
    model: str | None = None
    n: Annotated[int, Field(ge=1, le=ordered_images.MOST_IMAGES)] | None = 1
    #: Such as `1024x1024`; `auto`: that of the model.
    size: str | None = None
    #: `url` expires after an hour.
    response_format: Literal["url", "b64_json"] | None = "url"
    output_format: Literal["png", "webp", "jpeg"] | None = "png"


class GeneratedImage(BaseModel):
    """One of them; `url` or `b64_json` is set."""

    url: str | None = None
    b64_json: str | None = None


class Generated(BaseModel):
    """The response of POST /v1/images/generations."""

    #: In seconds since 1970.
    created: int
    data: tuple[GeneratedImage, ...]


@router.post("/images/generations", dependencies=[allow("submit")])
async def generate(
    wish: Generation, farm: TheFarm, caller: TheCaller, act: TheAct, repeatable: TheRequest, request: Request
) -> Generated:
    """Render images and return them, as OpenAI's API does; `api_key` of its clients is a key of the farm.

    Waits until all are stored, up to 10 minutes. With an `Idempotency-Key`, a request that is sent again gets
    the images of the first. Errors have OpenAI's form: `{"error": {"message": "…"}}`.
    """
    new = new_image(
        model=wish.model or await run_in_threadpool(ordered_images.default_model, farm, caller),
        prompt=literal(wish.prompt),
        size=None if wish.size == "auto" else wish.size,
        format=wish.output_format or "png",
        name="generation",
    )
    seeds = [ordered_images.random_seed() for _ in range(wish.n or 1)]
    images = await ordered_images.rendered(farm, new, seeds, caller, act, repeatable, request)
    as_url = wish.response_format != "b64_json"
    data = [await run_in_threadpool(_generated, farm, image, as_url) for image in images]
    return Generated(created=int(time.time()), data=tuple(data))


def _generated(farm: Farm, image: ImageView, as_url: bool) -> GeneratedImage:
    if as_url:
        return GeneratedImage(url=image.url)
    return GeneratedImage(b64_json=b64encode(ordered_images.content(farm, image)).decode())


def as_openai(error: FarmError, headers: dict[str, str]) -> Response:
    """The error in the form that clients of OpenAI's API read."""
    kinds = (name for kind, name in _TYPES.items() if isinstance(error, kind))
    kind = next(kinds, "invalid_request_error" if error.status < 500 else "server_error")
    body: dict[str, Any] = {"message": str(error), "type": kind, "param": None, "code": error.reason}
    return JSONResponse({"error": body}, error.status, headers)

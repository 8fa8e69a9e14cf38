"""Images for clients of AUTOMATIC1111's web UI: POST /sdapi/v1/txt2img, and what else they ask."""
# https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/API

from __future__ import annotations

import json
from base64 import b64encode
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from common.catalog import Catalog, Model
from common.errors import Invalid
from common.image_messages import LoraWish, NewImage, new_image
from common.states import ShotState
from common.views import ImageView
from coordinator.farm import Farm
from coordinator.http import ordered_images
from coordinator.http.access import READING, TheAct, TheBounds, TheCaller, TheFarm, TheOwner, allow
from coordinator.http.requests import TheRequest
from coordinator.importing import known
from coordinator.importing.imported import Account
from coordinator.importing.texts import literal, without_loras
from coordinator.ledger import JobFilter

router = APIRouter(prefix="/sdapi/v1")

_TEXT = Field(max_length=20_000)
#: What changes the image there, does not exist here, and is off unless a client says so.
_WITHOUT = ("enable_hr", "restore_faces", "tiling", "styles", "script_name", "alwayson_scripts")


class Txt2Img(BaseModel):
    """POST /sdapi/v1/txt2img: the web UI's request for images. Other fields are not looked at."""

    model_config = ConfigDict(extra="ignore")

    #: With tags such as `<lora:ana:0.8>`; braces are no variants here, and `__name__` is refused.
    prompt: Annotated[str, _TEXT]
    negative_prompt: Annotated[str, _TEXT] | None = ""
    #: -1: random. Further images have the seeds that follow.
    seed: Annotated[int, Field(ge=-1, lt=2**62)] | None = -1
    steps: int | None = None
    cfg_scale: float | None = None
    #: Both, or neither for the size of the model.
    width: int | None = None
    height: int | None = None
    sampler_name: str | None = None
    scheduler: str | None = None
    #: Images are `batch_size` × `n_iter`.
    batch_size: Annotated[int, Field(ge=1, le=ordered_images.MOST_IMAGES)] | None = 1
    n_iter: Annotated[int, Field(ge=1, le=ordered_images.MOST_IMAGES)] | None = 1
    #: `sd_model_checkpoint` is the model.
    override_settings: dict[str, Any] | None = None
    send_images: bool = True
    #: Not supported, so they must be off.
    enable_hr: bool | None = False
    restore_faces: bool | None = False
    tiling: bool | None = False
    styles: tuple[str, ...] | None = ()
    script_name: str | None = None
    alwayson_scripts: dict[str, Any] | None = None


class TextToImageResponse(BaseModel):
    """The response of POST /sdapi/v1/txt2img."""

    #: In base64.
    images: tuple[str, ...]
    #: The request.
    parameters: dict[str, Any]
    #: JSON, as text: settings and seeds of the images.
    info: str


class SdModel(BaseModel):
    """One line of GET /sdapi/v1/sd-models."""

    title: str
    model_name: str
    hash: str | None = None
    sha256: str | None = None
    filename: str = ""
    config: str | None = None


class SdSampler(BaseModel):
    """One line of GET /sdapi/v1/samplers."""

    name: str
    aliases: tuple[str, ...] = ()
    options: dict[str, str] = {}


@router.post("/txt2img", dependencies=[allow("submit")])
async def txt2img(
    wish: Txt2Img, farm: TheFarm, caller: TheCaller, act: TheAct, repeatable: TheRequest, request: Request
) -> TextToImageResponse:
    """Render images and return them, as the web UI's API does; the password of its clients is a key.

    Waits until all are stored, up to 10 minutes. With an `Idempotency-Key`, a request that is sent again gets
    the images of the first. 422: a setting that the farm does not have is not off.
    """
    theirs = str((wish.override_settings or {}).get("sd_model_checkpoint") or "")
    model = _model(
        theirs or await run_in_threadpool(ordered_images.default_model, farm, caller),
        farm.farm_catalog.catalog,
    )
    new = asked_image(wish, model, farm.farm_catalog.catalog)
    first = ordered_images.random_seed() if wish.seed in (None, -1) else wish.seed
    assert first is not None
    seeds = range(first, first + (wish.batch_size or 1) * (wish.n_iter or 1))
    images = await ordered_images.rendered(farm, new, seeds, caller, act, repeatable, request)
    sent = [await run_in_threadpool(_base64, farm, image) for image in images] if wish.send_images else []
    return TextToImageResponse(
        images=tuple(sent),
        parameters=wish.model_dump(exclude_defaults=True),
        info=json.dumps(_info(new, images)),
    )


@router.get("/sd-models", dependencies=[READING])
def sd_models(farm: TheFarm, bounds: TheBounds) -> list[SdModel]:
    """List the models in the catalog."""
    return [SdModel(title=model.name, model_name=model.name) for model in farm.models(bounds)]


@router.get("/samplers", dependencies=[READING])
def samplers(farm: TheFarm) -> list[SdSampler]:
    """List the samplers of all models."""
    of_models = (model.family.samplers for model in farm.farm_catalog.catalog.models.values())
    return [SdSampler(name=name) for name in sorted({name for names in of_models for name in names})]


@router.get("/options", dependencies=[READING])
def options(farm: TheFarm, caller: TheCaller) -> dict[str, str]:
    """Return the model of calls that name none; `override_settings` of a call names another."""
    return {"sd_model_checkpoint": ordered_images.default_model(farm, caller)}


@router.get("/progress", dependencies=[READING])
def progress(farm: TheFarm, owner: TheOwner) -> dict[str, Any]:
    """Return how far the newest unfinished job of the owner of the key is."""
    jobs, _ = farm.ledger.jobs.page(owner, JobFilter(statuses=("running", "waiting")), limit=1)
    share, eta_s = 0.0, 0.0
    if jobs:
        job = farm.ledger.jobs.view(jobs[0].id)
        share, eta_s = job.counts.get(ShotState.DONE, 0) / max(job.images, 1), job.eta_s or 0.0
    return {
        "progress": share,
        "eta_relative": eta_s,
        "state": {"job": jobs[0].id if jobs else "", "job_count": len(jobs)},
        "current_image": None,
    }


def _refuse_unsupported(wish: Txt2Img) -> None:
    on = [name for name in _WITHOUT if getattr(wish, name)]
    if on:
        raise Invalid(
            f"the farm does not have {', '.join(on)}: leave it out, or set the larger size directly"
        )


def _model(theirs: str, catalog: Catalog) -> Model:
    found = known.model(theirs, catalog)
    if found is None or not found.is_same:
        raise Invalid(
            f"sd_model_checkpoint: unknown model `{theirs[:100]}`; "
            f"the catalog has {known.names(catalog.models)}"
        )
    return catalog.models[found.name]


def asked_image(wish: Txt2Img, model: Model, catalog: Catalog) -> NewImage:
    """The image in the words of the farm. Raises Invalid for what the farm does not have."""
    _refuse_unsupported(wish)
    prompt, loras = without_loras(wish.prompt, Account(), "")
    uses = []
    for each in loras:
        lora = known.lora(each.name, catalog)
        if lora is None:
            raise Invalid(
                f"prompt: unknown LoRA `{each.name[:100]}`; GET /v1/catalog lists those of the farm"
            )
        uses.append(LoraWish(name=lora.name, weight=each.weight, text_weight=each.text_weight))
    if (wish.width is None) != (wish.height is None):
        raise Invalid("width, height: give both, or neither for the size of the model")
    return new_image(
        model=model.name,
        prompt=literal(prompt),
        negative=literal(wish.negative_prompt) if wish.negative_prompt else None,
        size=None if wish.width is None else f"{wish.width}x{wish.height}",
        steps=wish.steps,
        guidance=wish.cfg_scale,
        sampler=_sampler(wish, model),
        loras=tuple(uses),
        name="txt2img",
    )


def _sampler(wish: Txt2Img, model: Model) -> str | None:
    """That of the model which is, or resembles, what the web UI means."""
    if not wish.sampler_name:
        return None
    schedule = "" if wish.scheduler in (None, "automatic", "Automatic") else f" {wish.scheduler}"
    found = known.sampler(wish.sampler_name + schedule, model.family.samplers)
    if found is None:
        raise Invalid(
            f"sampler_name: {model.name} has no sampler like `{wish.sampler_name[:50]}`; "
            f"it has {', '.join(model.family.samplers)}"
        )
    return found.name


def _base64(farm: Farm, image: ImageView) -> str:
    return b64encode(ordered_images.content(farm, image)).decode()


def _info(new: NewImage, images: list[ImageView]) -> dict[str, Any]:
    """As the web UI tells of its images."""
    first = images[0]
    return {
        "prompt": first.prompt,
        "all_prompts": [image.prompt for image in images],
        "negative_prompt": new.negative or "",
        "seed": first.seed,
        "all_seeds": [image.seed for image in images],
        "width": first.width,
        "height": first.height,
        "steps": new.steps,
        "cfg_scale": new.guidance,
        "sampler_name": new.sampler,
        "sd_model_name": first.model,
        "batch_size": len(images),
    }

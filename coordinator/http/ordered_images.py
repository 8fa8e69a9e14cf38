"""Images that are ordered by themselves, by each of the calls that do so: submit, wait, look."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from common.errors import Conflict, Gone, Invalid, InvalidDocument
from common.image_messages import LONGEST_WAIT_S, NewImage, OrderedImage
from common.scopes import Bounds, Caller
from common.states import ShotState
from common.views import ImageView, JobView, Submitted
from coordinator.farm import Farm
from coordinator.http.requests import hung_up
from coordinator.ledger import Act, Repeatable
from coordinator.submission.image import as_said, image_submission

#: Seconds for which the URL of an image is valid.
URL_S = 3600
#: Images of one call that waits for them.
MOST_IMAGES = 16
#: Upper bound of random seeds.
_SEEDS = 2**31
#: States that need no explanation.
_WELL = (ShotState.RUNNING, ShotState.DELIVERED, ShotState.DONE)


def random_seed() -> int:
    return secrets.randbelow(_SEEDS)


async def order(
    farm: Farm,
    new: NewImage,
    seeds: Sequence[int],
    caller: Caller,
    act: Act,
    request: Repeatable | None = None,
) -> Submitted:
    """Submit an image for each of these seeds as one job. Raises as `submit_manifest` does."""

    def submit() -> Submitted:
        try:
            # The audit log names what it is, whichever call it came by.
            made = act._replace(action="job create")
            return farm.submit(image_submission(new, seeds), caller, made, request)
        except InvalidDocument as error:
            raise as_said(error) from None

    return await run_in_threadpool(submit)


async def wait(farm: Farm, job_id: str, wait_s: float, request: Request) -> None:
    """Return once the images of a job have ended, or after the wait, or when the caller leaves."""
    if wait_s <= 0:
        return
    images = await farm.threads.reads.run(farm.ledger.shots.of_job, job_id, limit=MOST_IMAGES)
    shots = list({image.shot_id for image in images})
    await farm.watches.answer(shots, wait_s=wait_s, hung_up=hung_up(request))


async def look(farm: Farm, job_id: str, owner: str | None) -> OrderedImage:
    """How far the image of a job is. Raises NotFound, Gone, or Conflict for a job of several images."""
    job, image = await run_in_threadpool(_found, farm, job_id)
    told = None if image.state in _WELL else await farm.explain_shot(image.shot_id, owner, image.state)
    now = time.time()
    return OrderedImage(
        **dict(image),
        id=job_id,
        status=job.status,
        progress=_progress(image, job, now),
        eta_s=job.eta_s,
        currency=job.currency,
        explanation=" ".join(told.sentences) if told else "",
        remedy=told.remedy if told else "",
        url_expires_at=None if image.url is None else now + URL_S,
    )


def _found(farm: Farm, job_id: str) -> tuple[JobView, ImageView]:
    job, images = farm.ledger.jobs.view(job_id), farm.ledger.shots.of_job(job_id, limit=2)
    if not images:
        raise Gone(f"the image of job {job_id} was removed: order it again")
    if len(images) > 1:
        raise Conflict(f"job {job_id} has {job.images} images: GET /v1/jobs/{job_id}/shots lists them")
    return job, with_url(farm, images[0])


def _progress(image: ImageView, job: JobView, now: float) -> float:
    """The share of the time that has passed, of all that is expected."""
    if image.state == ShotState.DONE:
        return 1.0
    passed_s = max(0.0, now - job.submitted_at)
    return 0.0 if job.eta_s is None else passed_s / max(passed_s + job.eta_s, 1e-9)


def sees(caller: Caller) -> str | None:
    """To whose jobs the explanations for a caller are limited; None: to nobody's."""
    return None if caller.allows(["read-all"]) else caller.owner


def with_url(farm: Farm, image: ImageView) -> ImageView:
    if image.key is None:
        return image
    return image.model_copy(update={"url": farm.store.sign_get(image.key, expires_s=URL_S)})


async def rendered(
    farm: Farm,
    new: NewImage,
    seeds: Sequence[int],
    caller: Caller,
    act: Act,
    repeatable: Repeatable | None,
    request: Request,
) -> list[ImageView]:
    """Order images and wait until all are stored, for clients that know no other way.

    A request that is sent again gets the images of the first. Raises Invalid if one cannot be rendered or the
    wait is over; the job goes on.
    """
    if len(seeds) > MOST_IMAGES:
        raise Invalid(f"at most {MOST_IMAGES} images come with one call: submit a manifest for more")
    job_id = (await order(farm, new, seeds, caller, act, repeatable)).id
    await wait(farm, job_id, LONGEST_WAIT_S, request)

    images = await run_in_threadpool(farm.ledger.shots.of_job, job_id, limit=MOST_IMAGES)
    if any(image.state != ShotState.DONE for image in images):
        why = " ".join((await farm.explain(job_id, sees(caller))).sentences)
        raise Invalid(f"not all images of job {job_id} are rendered (GET /v1/jobs/{job_id}/shots): {why}")
    return [with_url(farm, image) for image in images]


def content(farm: Farm, image: ImageView) -> bytes:
    """The bytes of a stored image."""
    assert image.key is not None
    return farm.store.read(image.key, limit=image.size or 0)


def default_model(farm: Farm, caller: Caller) -> str:
    """What a client that names no model gets: the first that a node offers, else the first of the catalog."""
    limited = caller.owner is not None and not caller.allows(["read-all"])
    models = farm.models(Bounds(caller.owner or "", caller.lanes) if limited else None)
    if not models:
        raise Invalid("the catalog of this farm has no model: `farm models add` adds one")
    return next((model.name for model in models if model.nodes), models[0].name)

"""Single images: order one, look at it. Stored images and shots: look up, accept, reject, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from common.image_messages import LONGEST_WAIT_S, NewImage, OrderedImage
from common.likeness import PERCEPTUAL_HASH
from common.views import (
    AcceptedShot,
    ApprovedShot,
    Deleted,
    Deletion,
    PictureOrigin,
    RejectedShot,
    Rejection,
    ShotQuery,
    StoredShots,
    WithheldImages,
)
from coordinator.http import ordered_images
from coordinator.http.access import (
    READING,
    STEERING,
    JobId,
    OnlyJob,
    TheAct,
    TheBounds,
    TheCaller,
    TheFarm,
    TheOwner,
    allow,
)
from coordinator.http.requests import TheRequest
from coordinator.pictures.origin import origin as image_origin

router = APIRouter(prefix="/v1")

#: SHA-256 of the bytes of an image.
ContentHash = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
#: Seconds for which a call may wait until its image has ended, well or not.
Wait = Annotated[float, Query(ge=0, le=LONGEST_WAIT_S)]


@router.post("/images", dependencies=[allow("submit")], status_code=201)
async def order(
    new: NewImage,
    farm: TheFarm,
    caller: TheCaller,
    act: TheAct,
    repeatable: TheRequest,
    request: Request,
    wait: Wait = 0,
) -> OrderedImage:
    """Order one image, as a job of one shot, and wait up to `wait` seconds for it.

    All that holds for manifests holds for it: checks, quota, budget, lane, priority, `Idempotency-Key`. Its
    `id` is that of the job. 422, 403, 429: as for POST /v1/jobs.
    """
    seed = ordered_images.random_seed() if new.seed is None else new.seed
    job_id = (await ordered_images.order(farm, new, [seed], caller, act, repeatable)).id
    await ordered_images.wait(farm, job_id, wait, request)
    return await ordered_images.look(farm, job_id, ordered_images.sees(caller))


@router.get("/images/{job_id}", dependencies=[READING])
async def image(
    job_id: JobId, farm: TheFarm, owner: TheOwner, request: Request, wait: Wait = 0
) -> OrderedImage:
    """Return how far an image is, after up to `wait` seconds; a stored one includes a presigned GET URL.

    409: the job has several images. 410: its image was removed.
    """
    await ordered_images.wait(farm, job_id, wait, request)
    return await ordered_images.look(farm, job_id, owner)


@router.get("/images/{sha256}/origin", dependencies=[READING])
def origin(
    sha256: ContentHash,
    farm: TheFarm,
    owner: TheOwner,
    shot: Annotated[
        str | None, Query(pattern="^[0-9a-f]{64}$", description="Shot that its metadata names")
    ] = None,
    perceptual_hash: Annotated[
        str | None,
        Query(pattern=PERCEPTUAL_HASH, description="Of what it shows, to find copies that were saved again"),
    ] = None,
) -> PictureOrigin:
    """Return whether, when and by what the farm made a picture, by its content, then by what it shows.

    404: nothing says that the farm made it, or the key may not see the jobs that have it.
    """
    return image_origin(sha256, shot, perceptual_hash, farm.ledger, farm.store, owner)


@router.post("/shots/stored", dependencies=[READING])
def stored(shots: ShotQuery, farm: TheFarm, bounds: TheBounds) -> StoredShots:
    """Return which of these shots have a stored image, so that a job would reuse it. Unknown IDs are fine."""
    stored = StoredShots(ids=tuple(farm.ledger.images.stored(shots.ids, bounds and bounds.lanes)))
    if bounds is not None:
        return stored
    return stored.model_copy(update={"texts": farm.ledger.embeddings.stored(shots.texts)})


@router.post("/shots/{shot_id}/accept", dependencies=[STEERING])
def accept(shot_id: str, farm: TheFarm, owner: TheOwner, job: OnlyJob, act: TheAct) -> AcceptedShot:
    """Accept a failed shot as permanently missing from `job`, or from all jobs of its only owner.

    At least the first six digits of its ID are required. 409: the shot has not failed, several shots match,
    or jobs of several owners want it and `job` is missing.
    """
    return AcceptedShot(id=farm.ledger.shots.accept(shot_id, job, owner=owner, act=act))


@router.post("/shots/{shot_id}/reject", dependencies=[STEERING])
def reject(
    shot_id: str, wish: Rejection, farm: TheFarm, owner: TheOwner, job: OnlyJob, act: TheAct
) -> RejectedShot:
    """Remove a stored image from the results of `job`, or of all jobs of its only owner.

    An image rendered in its place gets its name. 409: as for `accept`, or no active job has the image.
    """
    wish = wish.model_copy(update={"by": act.key or wish.by})
    return farm.ledger.shots.reject(shot_id, wish, job, owner=owner, act=act)


@router.post("/shots/{shot_id}/delete", dependencies=[STEERING])
def delete(
    shot_id: str, wish: Deletion, farm: TheFarm, owner: TheOwner, job: OnlyJob, act: TheAct
) -> Deleted:
    """Remove a stored image from the same jobs, and delete it unless another active job has it."""
    return farm.delete(farm.ledger.images.delete(shot_id, act.key or wish.by, job, owner=owner, act=act))


@router.get("/withheld", dependencies=[allow("operate")])
def withheld(farm: TheFarm) -> WithheldImages:
    """Return images that classifiers of their lanes withheld, the oldest first, with presigned GET URLs.

    Operators alone see them, here and nowhere else.
    """
    return WithheldImages(images=farm.withheld())


@router.post("/shots/{shot_id}/approve", dependencies=[allow("operate")])
def approve(shot_id: str, farm: TheFarm, act: TheAct) -> ApprovedShot:
    """Show a withheld image to all who may see its jobs. 409: the image of the shot is not withheld."""
    return ApprovedShot(id=farm.ledger.images.approve(shot_id, act=act))


@router.post("/images/{sha256}/delete", dependencies=[allow("operate")])
def delete_content(sha256: ContentHash, wish: Deletion, farm: TheFarm, act: TheAct) -> Deleted:
    """Delete every image with this content from the jobs of all owners. 404: no such image."""
    return farm.delete(farm.ledger.images.delete_content(sha256, act.key or wish.by, act=act))

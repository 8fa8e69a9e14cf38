"""One shot of a job: its image, where it comes from, and what can be done with it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from common.errors import NotFound, Unreadable
from common.states import ShotState
from common.views import Rejection
from coordinator.explain.wording import SHORT
from coordinator.farm import Farm
from coordinator.ledger.images import StoredFile
from coordinator.pictures.thumbnail import CONTENT_TYPE, thumbnail, thumbnail_key
from coordinator.web.rendering import is_fragment, page
from coordinator.web.visitor import TheForm, TheViewer, TheVisitor, Visitor

router = APIRouter(prefix="/jobs/{job_id}")

#: Of a shot in its job.
Position = Annotated[int, Path(ge=0, lt=2**31)]
#: Seconds for which the address of an image in full size is valid.
_URL_S = 600
#: An address contains the hash of its image.
_KEPT = {"Cache-Control": "private, max-age=31536000, immutable"}


@router.get("/shots/{position}")
async def show(request: Request, visitor: TheVisitor, job_id: str, position: Position) -> Response:
    """A shot with its image in full size."""
    return await _shown(request, visitor, await run_in_threadpool(visitor.job, job_id), position)


async def _shown(request: Request, visitor: Visitor, job_id: str, position: int) -> Response:
    farm, told = visitor.farm, None
    details = await run_in_threadpool(farm.ledger.shots.details, job_id, position)
    if details.view.state != ShotState.DONE:
        told = await farm.explain_shot(details.view.shot_id, visitor.owner, details.view.state)
    return page(
        request,
        "shot_part.html" if is_fragment(request) else "shot.html",
        job_id=job_id,
        details=details,
        told=told,
        currency=farm.settings.money.currency,
        may_steer=visitor.may_steer(await run_in_threadpool(farm.job_owner, job_id)),
    )


@router.get("/thumbnails/{position}/{digest}")
def small(visitor: TheViewer, job_id: str, position: Position, digest: str) -> Response:
    """The thumbnail of a stored image."""
    file = visitor.farm.ledger.images.file(visitor.job(job_id), position)
    if not file.sha256.startswith(digest):
        raise NotFound("this image was replaced: load the page again")
    return Response(_thumbnail(visitor.farm, job_id, file), media_type=CONTENT_TYPE, headers=_KEPT)


def _thumbnail(farm: Farm, job_id: str, file: StoredFile) -> bytes:
    data = thumbnail(file.key, file.size, farm.store)
    try:
        farm.ledger.images.file(job_id, file.position)
    except NotFound:
        # It was deleted meanwhile, and the deletion may have missed a thumbnail that was just made.
        farm.store.delete(thumbnail_key(file.key))
        raise
    return data


@router.get("/images/{position}/{digest}")
def full(visitor: TheViewer, job_id: str, position: Position, digest: str) -> Response:
    """The stored image, from the store."""
    file = visitor.farm.ledger.images.file(visitor.job(job_id), position)
    if not file.sha256.startswith(digest):
        raise NotFound("this image was replaced: load the page again")
    return RedirectResponse(visitor.farm.store.sign_get(file.key, expires_s=_URL_S), 303)


@router.post("/shots/{position}/reject")
async def reject(
    request: Request, visitor: TheVisitor, job_id: str, position: Position, form: TheForm
) -> Response:
    """Remove the image from the results of the job, and render another one in its place if that is wished."""
    redo = form.text("redo", "no")
    if redo not in ("no", "next seed", "same seed"):
        raise Unreadable("choose what to render in place of the image")
    await run_in_threadpool(_reject, visitor, job_id, position, redo)
    if redo == "no":
        return _removed(request, job_id)
    return await _shown(request, visitor, job_id, position) if is_fragment(request) else _to(job_id, position)


def _reject(visitor: Visitor, job_id: str, position: int, redo: str) -> None:
    job_id = visitor.steered_job(job_id)
    shot_id = visitor.farm.ledger.shots.details(job_id, position).view.shot_id
    wish = Rejection.model_validate({"by": visitor.caller.name, "redo": redo})
    act = visitor.act("shot reject", shot_id[:SHORT], f"for job {job_id}")
    owner = None if visitor.may_operate else visitor.caller.owner
    visitor.farm.ledger.shots.reject(shot_id, wish, job_id, owner=owner, act=act)


@router.post("/shots/{position}/accept")
async def accept(
    request: Request, visitor: TheVisitor, job_id: str, position: Position, form: TheForm
) -> Response:
    """Accept a failed shot as permanently missing from the job."""
    await run_in_threadpool(_accept, visitor, job_id, position)
    return await _shown(request, visitor, job_id, position) if is_fragment(request) else _to(job_id, position)


def _accept(visitor: Visitor, job_id: str, position: int) -> None:
    job_id = visitor.steered_job(job_id)
    shot_id = visitor.farm.ledger.shots.details(job_id, position).view.shot_id
    act = visitor.act("shot accept", shot_id[:SHORT], f"for job {job_id}")
    owner = None if visitor.may_operate else visitor.caller.owner
    visitor.farm.ledger.shots.accept(shot_id, job_id, owner=owner, act=act)


def _removed(request: Request, job_id: str) -> Response:
    if is_fragment(request):
        return page(request, "removed.html", headers={"HX-Trigger": "shots-changed"}, job_id=job_id)
    return RedirectResponse(f"/jobs/{job_id}", 303)


def _to(job_id: str, position: int) -> Response:
    return RedirectResponse(f"/jobs/{job_id}/shots/{position}", 303)

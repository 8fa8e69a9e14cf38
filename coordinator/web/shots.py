"""One shot of a job: its image, where it comes from, and what can be done with it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse

from common.errors import NotFound, Unreadable
from common.states import ShotState
from common.views import Explanation, Rejection
from coordinator.explain import SHORT
from coordinator.farm import Farm
from coordinator.ledger.gallery import StoredFile
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
def show(request: Request, visitor: TheVisitor, job_id: str, position: Position) -> Response:
    """A shot with its image in full size."""
    return _shown(request, visitor, visitor.job(job_id), position)


def _shown(request: Request, visitor: Visitor, job_id: str, position: int) -> Response:
    farm = visitor.farm
    details = farm.ledger.shot_details(job_id, position)
    template = "shot_part.html" if is_fragment(request) else "shot.html"
    return page(
        request,
        template,
        job_id=job_id,
        details=details,
        told=_told(visitor, details.view.shot_id) if details.view.state != ShotState.DONE else None,
        currency=farm.settings.money.currency,
        may_steer=visitor.may_steer(farm.job_owner(job_id)),
    )


def _told(visitor: Visitor, shot_id: str) -> Explanation:
    return visitor.farm.ledger.explain(shot_id, version="", owner=visitor.owner)


@router.get("/thumbnails/{position}/{digest}")
def small(visitor: TheViewer, job_id: str, position: Position, digest: str) -> Response:
    """The thumbnail of a stored image."""
    file = visitor.farm.ledger.stored_file(visitor.job(job_id), position)
    if not file.sha256.startswith(digest):
        raise NotFound("this image was replaced: load the page again")
    return Response(_thumbnail(visitor.farm, job_id, file), media_type=CONTENT_TYPE, headers=_KEPT)


def _thumbnail(farm: Farm, job_id: str, file: StoredFile) -> bytes:
    data = thumbnail(file.key, file.size, farm.store)
    try:
        farm.ledger.stored_file(job_id, file.position)
    except NotFound:
        # It was deleted meanwhile, and the deletion may have missed a thumbnail that was just made.
        farm.store.delete(thumbnail_key(file.key))
        raise
    return data


@router.get("/images/{position}/{digest}")
def full(visitor: TheViewer, job_id: str, position: Position, digest: str) -> Response:
    """The stored image, from the store."""
    file = visitor.farm.ledger.stored_file(visitor.job(job_id), position)
    if not file.sha256.startswith(digest):
        raise NotFound("this image was replaced: load the page again")
    return RedirectResponse(visitor.farm.store.sign_get(file.key, expires_s=_URL_S), 303)


@router.post("/shots/{position}/reject")
def reject(request: Request, visitor: TheVisitor, job_id: str, position: Position, form: TheForm) -> Response:
    """Remove the image from the results of the job, and render another one in its place if that is wished."""
    redo = form.text("redo", "no")
    if redo not in ("no", "next seed", "same seed"):
        raise Unreadable("choose what to render in place of the image")
    job_id = visitor.steered_job(job_id)
    shot_id = visitor.farm.ledger.shot_details(job_id, position).view.shot_id
    wish = Rejection.model_validate({"by": visitor.caller.name, "redo": redo})
    act = visitor.act("shot reject", shot_id[:SHORT], f"for job {job_id}")
    owner = None if visitor.may_operate else visitor.caller.owner
    visitor.farm.ledger.reject_shot(shot_id, wish, job_id, owner=owner, act=act)
    if redo == "no":
        return _removed(request, job_id)
    return _shown(request, visitor, job_id, position) if is_fragment(request) else _to(job_id, position)


@router.post("/shots/{position}/accept")
def accept(request: Request, visitor: TheVisitor, job_id: str, position: Position, form: TheForm) -> Response:
    """Accept a failed shot as permanently missing from the job."""
    job_id = visitor.steered_job(job_id)
    shot_id = visitor.farm.ledger.shot_details(job_id, position).view.shot_id
    act = visitor.act("shot accept", shot_id[:SHORT], f"for job {job_id}")
    owner = None if visitor.may_operate else visitor.caller.owner
    visitor.farm.ledger.accept_shot(shot_id, job_id, owner=owner, act=act)
    return _shown(request, visitor, job_id, position) if is_fragment(request) else _to(job_id, position)


def _removed(request: Request, job_id: str) -> Response:
    if is_fragment(request):
        return page(request, "removed.html", headers={"HX-Trigger": "shots-changed"}, job_id=job_id)
    return RedirectResponse(f"/jobs/{job_id}", 303)


def _to(job_id: str, position: int) -> Response:
    return RedirectResponse(f"/jobs/{job_id}/shots/{position}", 303)

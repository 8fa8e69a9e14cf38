"""Jobs: their list, one job with its gallery, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, NamedTuple
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from common.errors import NotFound, Unreadable
from common.states import ShotState
from common.views import Explanation, ImageView, JobView, Pick, PickWish
from coordinator.farm import Farm
from coordinator.http.pick_routes import picked_words
from coordinator.ledger import Act, ShotFilter
from coordinator.ledger.tallies import OPEN
from coordinator.submission.submit import check_priority
from coordinator.web.overview import Remembered
from coordinator.web.rendering import page
from coordinator.web.visitor import TheForm, TheViewer, TheVisitor

router = APIRouter(prefix="/jobs")

#: Position behind which a page of shots begins.
After = Annotated[int, Query(ge=-1, lt=2**31)]

#: Jobs of a page of the list.
_JOBS = 50
#: Shots of a page of a gallery, and of a contact sheet.
SHOTS = 60
_SHEET = 200

#: Before the name of an axis in the address of a gallery.
_AXIS = "axis:"
#: Characters that are searched for.
_TEXT = 200

#: What a filter calls states.
STATES: dict[str, tuple[ShotState, ...]] = {
    "stored": (ShotState.DONE,),
    "in work": (ShotState.RUNNING, ShotState.DELIVERED),
    "waiting": (ShotState.WAITING,),
    "failed": (ShotState.FAILED,),
    "withheld": (ShotState.WITHHELD,),
    "fits no node": (ShotState.UNSCHEDULABLE,),
    "cancelled": (ShotState.CANCELLED,),
}


class GalleryFilter(NamedTuple):
    """The filter of a gallery, as its form has it."""

    state: str = ""
    node: str = ""
    text: str = ""
    #: Chosen values by axis.
    axes: Mapping[str, str] = MappingProxyType({})

    @property
    def shots(self) -> ShotFilter:
        axes = tuple(self.axes.items())
        return ShotFilter(STATES.get(self.state, ()), axes, self.text, self.node)

    @property
    def query(self) -> str:
        """Of addresses that keep the filter."""
        given = {"state": self.state, "node": self.node, "text": self.text}
        given |= {f"{_AXIS}{axis}": value for axis, value in self.axes.items()}
        given = {name: value for name, value in given.items() if value}
        return f"&{urlencode(given)}" if given else ""

    @classmethod
    def of(cls, request: Request) -> GalleryFilter:
        """What the address of a gallery chooses."""
        given = request.query_params
        axes = {name.removeprefix(_AXIS): value for name, value in given.items() if name.startswith(_AXIS)}
        state = given.get("state", "")
        return cls(
            state if state in STATES else "",
            given.get("node", ""),
            given.get("text", "").strip()[:_TEXT],
            {axis: value for axis, value in axes.items() if value},
        )


class Chunk(NamedTuple):
    """Some shots of a gallery that are loaded and renewed together."""

    job_id: str
    chosen: GalleryFilter
    #: Position before the first of them.
    after: int
    shots: list[ImageView]
    #: Position of the last of them if others follow, else None.
    upto: int | None
    #: What people picked of them, by position.
    picks: Mapping[int, Pick]

    @property
    def is_open(self) -> bool:
        """Whether some of its shots are unfinished, or others may join it."""
        return self.upto is None or any(shot.state in OPEN for shot in self.shots)


def chunk_of(
    farm: Farm,
    job_id: str,
    chosen: GalleryFilter,
    *,
    after: int,
    upto: int | None = None,
    limit: int = SHOTS,
) -> Chunk:
    """Some shots of a job: those behind a position, up to another if it is given."""
    most = limit if upto is None else max(limit, upto - after)
    found, end = farm.ledger.shots.page(job_id, chosen.shots, after=after, limit=most)
    if upto is None:
        upto = end
    else:
        found = [shot for shot in found if shot.position <= upto]
    picks = farm.ledger.picks.at(job_id, [shot.position for shot in found])
    return Chunk(job_id, chosen, after, found, upto, picks)


@router.get("")
def listed(request: Request, visitor: TheVisitor, before: float | None = None, beside: str = "") -> Response:
    """The jobs, newest first; `before` and `beside` are time and ID of the last one of the page before."""
    ledger = visitor.farm.ledger
    after = None if before is None else (before, beside)
    found, older = ledger.jobs.page(visitor.owner, after=after, limit=_JOBS)
    jobs = ledger.jobs.progress([job.id for job in found])
    return page(request, "jobs.html", jobs=jobs, older=older, before=before)


@router.get("/{job_id}")
def show(request: Request, visitor: TheVisitor, job_id: str, after: After = -1) -> Response:
    """A job with the first page of its gallery."""
    farm = visitor.farm
    job = farm.ledger.jobs.view(visitor.job(job_id))
    chosen, chunk = GalleryFilter.of(request), None
    if job.details_removed_at is None:
        chunk = chunk_of(farm, job_id, chosen, after=after)
    return page(
        request,
        "job.html",
        job=job,
        chunk=chunk,
        chosen=chosen,
        axes={axis: values for axis, values in job.axes.items() if len(values) > 1},
        states=list(STATES),
        nodes=[each.id for each in farm.nodes(visitor.bounds)],
        seen=_version(job),
        may_steer=visitor.may_steer(job.owner),
    )


@router.get("/{job_id}/progress")
def progress(request: Request, visitor: TheViewer, job_id: str, seen: str = "") -> Response:
    """The head of the page; tells the gallery if shots have changed since `seen`."""
    job = visitor.farm.ledger.jobs.view(visitor.job(job_id))
    now = _version(job)
    headers = {} if now == seen else {"HX-Trigger": "shots-changed"}
    steers = visitor.may_steer(job.owner)
    return page(request, "job_head.html", headers=headers, job=job, seen=now, may_steer=steers)


@router.get("/{job_id}/why")
async def why(request: Request, visitor: TheViewer, job_id: str) -> Response:
    """What waits and why, as `farm explain` says it."""
    known: Remembered[Explanation] = request.app.state.reasons
    ledger, owner = visitor.farm.ledger, visitor.owner
    await run_in_threadpool(visitor.job, job_id)
    told = await known.get((job_id, owner), lambda: ledger.explain(job_id, version="", owner=owner))
    return page(request, "why.html", told=told)


@router.get("/{job_id}/shots")
def shots(
    request: Request,
    visitor: TheViewer,
    job_id: str,
    after: After = -1,
    upto: Annotated[int | None, Query(ge=0, lt=2**31)] = None,
    again: bool = False,
) -> Response:
    """A page of the gallery; `again` if it was shown before, so that what follows it is there."""
    # A range that a page did not name would have no end.
    upto = None if upto is None else min(upto, after + 100 * SHOTS)
    chosen = GalleryFilter.of(request)
    chunk = chunk_of(visitor.farm, visitor.job(job_id), chosen, after=after, upto=upto)
    return page(request, "chunk.html", chunk=chunk, again=again and upto is not None)


@router.get("/{job_id}/sheet")
def sheet(request: Request, visitor: TheVisitor, job_id: str, after: After = -1) -> Response:
    """A contact sheet of the stored images, for the screen and for paper."""
    farm = visitor.farm
    job = farm.ledger.jobs.view(visitor.job(job_id))
    chunk = chunk_of(farm, job_id, GalleryFilter("stored"), after=after, limit=_SHEET)
    return page(request, "sheet.html", job=job, chunk=chunk)


@router.get("/{job_id}/manifest.yaml")
def manifest(visitor: TheVisitor, job_id: str) -> Response:
    """The manifest as it was submitted."""
    return PlainTextResponse(visitor.farm.ledger.jobs.manifest(visitor.job(job_id)))


Verb = Callable[[Farm, str, Act], object]
#: What can be done with a job, by the last part of the address.
VERBS: dict[str, Verb] = {
    "pause": lambda farm, job, act: farm.ledger.jobs.pause(job, act=act),
    "resume": lambda farm, job, act: farm.ledger.jobs.resume(job, act=act),
    "cancel": lambda farm, job, act: farm.ledger.jobs.cancel(job, act=act),
    "retry": lambda farm, job, act: farm.ledger.jobs.retry(job, act=act),
    "requeue": lambda farm, job, act: farm.ledger.jobs.requeue(job, act=act),
    "accept": lambda farm, job, act: farm.ledger.jobs.accept_failures(job, act=act),
}


@router.get("/{job_id}/picks")
def picked(request: Request, visitor: TheViewer, job_id: str) -> Response:
    """How many images were kept, and what one cost."""
    costs = visitor.farm.ledger.picks.cost_per_image(visitor.job(job_id))
    return page(request, "picks.html", costs=costs, job_id=job_id)


@router.post("/{job_id}/picks")
def pick(request: Request, visitor: TheVisitor, job_id: str, form: TheForm) -> Response:
    """Keep or drop images, or give them stars."""
    try:
        wish = PickWish(
            positions=tuple(int(each) for each in form.text("positions").split(",")),
            kept=form.text("kept") or None,
            stars=int(form.text("stars")) if form.text("stars") else None,
        )
    except ValueError:
        raise Unreadable("choose images, and whether to keep them or how many stars to give") from None
    job_id, by = visitor.steered_job(job_id), visitor.caller.name
    act = visitor.act("job picks", job_id, picked_words(wish))
    visitor.farm.ledger.picks.change(job_id, wish, by, act=act)
    return picked(request, visitor, job_id)


@router.post("/{job_id}/priority")
def prioritise(visitor: TheVisitor, job_id: str, form: TheForm) -> Response:
    """Set the priority of a job."""
    given = form.text("priority")
    if not given.isdecimal() or int(given) > 100:
        raise Unreadable("write a priority from 0 to 100")
    priority, job_id = int(given), visitor.steered_job(job_id)
    check_priority(visitor.caller, priority)
    act = visitor.act("job priority", job_id, given)
    visitor.farm.ledger.jobs.prioritise(job_id, priority, act=act)
    return _back(job_id)


@router.post("/{job_id}/{verb}")
def steer(visitor: TheVisitor, job_id: str, verb: str, form: TheForm) -> Response:
    """Pause, resume, cancel, retry, requeue a job, or accept its failed shots."""
    if verb not in VERBS:
        raise NotFound("there is no such page")
    VERBS[verb](visitor.farm, visitor.steered_job(job_id), visitor.act(f"job {verb}", job_id))
    return _back(job_id)


def _back(job_id: str) -> Response:
    return RedirectResponse(f"/jobs/{job_id}", 303)


def _version(job: JobView) -> str:
    """Changes with the shots of a job."""
    return ".".join(f"{state[:3]}{number}" for state, number in sorted(job.counts.items()))

"""The operator's side of the HTTP API, typed; every refusal becomes the error that the coordinator raised."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Literal, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from common import errors
from common.farmhttp import farm_http, no_farm, silence
from common.views import (
    AcceptedShot,
    CostTable,
    Deleted,
    Deletion,
    ErrorView,
    Explanation,
    ImagePage,
    ImageView,
    JobSummary,
    JobView,
    MemoryView,
    ModelView,
    NodeView,
    NodeWish,
    Priority,
    RejectedShot,
    Rejection,
    StatusView,
    Submit,
    Submitted,
)

_T = TypeVar("_T")

#: What an operator may ask of a node.
NodeVerb = Literal["drain", "pause", "resume", "quarantine", "forgive"]

_TIMEOUT_S = 30.0
#: A hundred thousand shots are expanded and stored before the answer.
_SUBMIT_TIMEOUT_S = 600.0
_PAGE = 500

_BY_EXIT_CODE: dict[int, type[errors.FarmError]] = {
    kind.exit_code: kind
    for kind in (errors.Invalid, errors.FitsNothing, errors.OverBudget, errors.Declined, errors.SomeFailed)
}
_BY_STATUS: dict[int, type[errors.FarmError]] = {
    kind.status: kind
    for kind in (
        errors.Unauthorised,
        errors.Forbidden,
        errors.NotFound,
        errors.Conflict,
        errors.Gone,
        errors.Unavailable,
    )
}


class FarmClient:
    """Calls raise Unavailable while the farm does not answer, and otherwise what the farm says is wrong."""

    def __init__(self, url: str, key: str | None) -> None:
        """Raises Invalid for what is no URL, or cannot be a key."""
        self.url = url.rstrip("/")
        self._http = farm_http(url, key, given_as="public_url", timeout_s=_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def submit(self, order: Submit) -> Submitted:
        return self._call(Submitted, "POST", "/v1/jobs", order.model_dump(mode="json"), _SUBMIT_TIMEOUT_S)

    def jobs(self) -> list[JobSummary]:
        """The newest first."""
        return self._call(list[JobSummary], "GET", "/v1/jobs")

    def job(self, job_id: str) -> JobView:
        return self._call(JobView, "GET", f"/v1/jobs/{_quoted(job_id)}")

    def cancel(self, job_id: str) -> JobView:
        return self._call(JobView, "POST", f"/v1/jobs/{_quoted(job_id)}/cancel")

    def pause(self, job_id: str) -> JobView:
        return self._call(JobView, "POST", f"/v1/jobs/{_quoted(job_id)}/pause")

    def resume(self, job_id: str) -> JobView:
        return self._call(JobView, "POST", f"/v1/jobs/{_quoted(job_id)}/resume")

    def retry(self, job_id: str) -> JobView:
        return self._call(JobView, "POST", f"/v1/jobs/{_quoted(job_id)}/retry")

    def requeue(self, job_id: str) -> JobView:
        return self._call(JobView, "POST", f"/v1/jobs/{_quoted(job_id)}/requeue")

    def prioritise(self, job_id: str, priority: int) -> JobView:
        wish = Priority(priority=priority).model_dump()
        return self._call(JobView, "POST", f"/v1/jobs/{_quoted(job_id)}/priority", wish)

    def accept(self, shot_id: str, job_id: str | None = None) -> AcceptedShot:
        """`shot_id` may be cut to 6 digits or more."""
        return self._call(AcceptedShot, "POST", _shot(shot_id, "accept", job_id))

    def reject(
        self,
        shot_id: str,
        job_id: str | None = None,
        *,
        by: str,
        redo: Literal["no", "next seed", "same seed"] = "no",
    ) -> RejectedShot:
        """`shot_id` may be cut to 6 digits or more, here and in `delete_shot`."""
        wish = Rejection(by=by, redo=redo).model_dump()
        return self._call(RejectedShot, "POST", _shot(shot_id, "reject", job_id), wish)

    def delete_shot(self, shot_id: str, job_id: str | None = None, *, by: str) -> Deleted:
        return self._call(Deleted, "POST", _shot(shot_id, "delete", job_id), Deletion(by=by).model_dump())

    def delete_job(self, job_id: str, *, by: str) -> Deleted:
        path = f"/v1/jobs/{_quoted(job_id)}/delete"
        return self._call(Deleted, "POST", path, Deletion(by=by).model_dump(), _SUBMIT_TIMEOUT_S)

    def delete_content(self, sha256: str, *, by: str) -> Deleted:
        path = f"/v1/images/{_quoted(sha256)}/delete"
        return self._call(Deleted, "POST", path, Deletion(by=by).model_dump())

    def explain(self, subject: str) -> Explanation:
        """Of a job's id, a node's name, or a shot's id or its beginning."""
        return self._call(Explanation, "GET", f"/v1/explain/{_quoted(subject)}")

    def table(self, job_id: str) -> CostTable:
        return self._call(CostTable, "GET", f"/v1/jobs/{_quoted(job_id)}/table")

    def images(self, job_id: str) -> Iterator[ImageView]:
        """All shots of the job in the manifest's order; a page is fetched, its URLs signed, when reached."""
        after: int | None = -1
        while after is not None:
            page = self._call(
                ImagePage, "GET", f"/v1/jobs/{_quoted(job_id)}/images?after={after}&limit={_PAGE}"
            )
            yield from page.images
            after = page.next

    def nodes(self) -> list[NodeView]:
        return self._call(list[NodeView], "GET", "/v1/nodes")

    def steer_node(self, name: str, verb: NodeVerb, reason: str = "") -> NodeView:
        wish = NodeWish(reason=reason).model_dump()
        return self._call(NodeView, "POST", f"/v1/nodes/{_quoted(name)}/{verb}", wish)

    def memory(self) -> list[MemoryView]:
        return self._call(list[MemoryView], "GET", "/v1/memory")

    def models(self) -> list[ModelView]:
        return self._call(list[ModelView], "GET", "/v1/models")

    def status(self) -> StatusView:
        return self._call(StatusView, "GET", "/v1/status")

    def _call(
        self, kind: type[_T], method: str, path: str, body: object = None, timeout_s: float = _TIMEOUT_S
    ) -> _T:
        try:
            answer = self._http.request(method, path, json=body, timeout=timeout_s)
        except httpx.HTTPError as error:
            remedy = "`farm status` shows its processes, `farm up` starts them"
            raise errors.Unavailable(f"{silence(self.url, error)}; {remedy}") from None
        if answer.is_error:
            raise _error(answer)
        try:
            return TypeAdapter(kind).validate_json(answer.content)
        except ValidationError:
            raise errors.Unavailable(no_farm(answer)) from None


def _shot(shot_id: str, verb: str, job_id: str | None) -> str:
    """The address of a verb of a shot, for one job or for all that the verb is about."""
    job = f"?job={_quoted(job_id)}" if job_id else ""
    return f"/v1/shots/{_quoted(shot_id)}/{verb}{job}"


def _quoted(word: str) -> str:
    """As a part of an address, whatever it holds."""
    return quote(word, safe="")


def _error(answer: httpx.Response) -> errors.FarmError:
    try:
        view = ErrorView.model_validate_json(answer.content)
    except ValidationError:
        return errors.Unavailable(no_farm(answer))
    kind = _BY_EXIT_CODE.get(view.exit_code) or _BY_STATUS.get(answer.status_code, errors.FarmError)
    return kind(view.error)

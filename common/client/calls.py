"""The calls of the API that programs make, as values that a client sends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote, urlencode

from common.bill import Bill
from common.client.call import ApiCall
from common.image_messages import LONGEST_WAIT_S, NewImage, OrderedImage
from common.key_messages import KeyView
from common.views import (
    ExportedFile,
    JobPage,
    JobView,
    ModelList,
    ShotPage,
    StatusView,
    Submit,
    Submitted,
)

#: What can be asked of a job.
JobVerb = Literal["cancel", "pause", "resume", "retry", "requeue"]

#: A hundred thousand shots are expanded and stored before the answer.
SUBMIT_TIMEOUT_S = 600.0
#: Seconds for which one call waits for an image, and by which its answer may be later.
_WAIT_S, _SLACK_S = 30.0, 30.0
_PAGE = 500


def submit(
    manifest: str | Mapping[str, Any] | Submit,
    *,
    owner: str | None = None,
    name: str | None = None,
    idempotency_key: str | None = None,
) -> ApiCall[Submitted]:
    """A manifest as YAML or JSON text or as a mapping; or a whole message, which names owner and job."""
    if not isinstance(manifest, Submit):
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        manifest = Submit(manifest=text, owner=owner, name=name)
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    return ApiCall(Submitted, "POST", "/v1/jobs", manifest, headers, SUBMIT_TIMEOUT_S)


def order(image: NewImage, wait_s: float, idempotency_key: str | None = None) -> ApiCall[OrderedImage]:
    """An image, and a wait for it."""
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    wait_s = _one_wait(wait_s)
    return ApiCall(OrderedImage, "POST", f"/v1/images?wait={wait_s}", image, headers, wait_s + _SLACK_S)


def look(image_id: str, wait_s: float = 0.0) -> ApiCall[OrderedImage]:
    """How far an image is, after a wait."""
    wait_s = _one_wait(wait_s)
    path = f"/v1/images/{quoted(image_id)}?wait={wait_s}"
    return ApiCall(OrderedImage, "GET", path, timeout_s=wait_s + _SLACK_S)


def _one_wait(wait_s: float) -> float:
    return round(max(0.0, min(wait_s, _WAIT_S, LONGEST_WAIT_S)), 3)


def job_page(
    cursor: str | None = None,
    *,
    owner: str | None = None,
    name: str | None = None,
    status: Sequence[str] = (),
) -> ApiCall[JobPage]:
    path = _page("/v1/jobs", cursor, owner=owner, name=name, status=tuple(status))
    return ApiCall(JobPage, "GET", path)


def shot_page(job_id: str, cursor: str | None = None, *, state: Sequence[str] = ()) -> ApiCall[ShotPage]:
    return ApiCall(ShotPage, "GET", _page(f"/v1/jobs/{quoted(job_id)}/shots", cursor, state=tuple(state)))


def _page(path: str, cursor: str | None, **filters: str | tuple[str, ...] | None) -> str:
    wanted = {"limit": str(_PAGE), "cursor": cursor, **filters}
    return f"{path}?{urlencode({name: value for name, value in wanted.items() if value}, doseq=True)}"


def job(job_id: str) -> ApiCall[JobView]:
    return ApiCall(JobView, "GET", f"/v1/jobs/{quoted(job_id)}")


def steer_job(job_id: str, verb: JobVerb) -> ApiCall[JobView]:
    return ApiCall(JobView, "POST", f"/v1/jobs/{quoted(job_id)}/{verb}")


def export(job_id: str, position: int, name: str) -> ApiCall[ExportedFile]:
    return ApiCall(ExportedFile, "GET", f"/v1/jobs/{quoted(job_id)}/shots/{position}/exports/{quoted(name)}")


def models() -> ApiCall[ModelList]:
    return ApiCall(ModelList, "GET", "/v1/models")


def status() -> ApiCall[StatusView]:
    return ApiCall(StatusView, "GET", "/v1/status")


def costs(month: str | None, owner: str | None) -> ApiCall[Bill]:
    wanted = {"month": month, "owner": owner}
    query = urlencode({name: value for name, value in wanted.items() if value is not None})
    return ApiCall(Bill, "GET", f"/v1/costs?{query}" if query else "/v1/costs")


def whoami() -> ApiCall[KeyView]:
    return ApiCall(KeyView, "GET", "/v1/key")


def event_path(job_id: str | None) -> str:
    """Where events are streamed: of one job, or of all that the key may see."""
    return "/v1/events" if job_id is None else f"/v1/jobs/{quoted(job_id)}/events"


def quoted(word: str) -> str:
    """As a part of an address, whatever it holds."""
    return quote(word, safe="")

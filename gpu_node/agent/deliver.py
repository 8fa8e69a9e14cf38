"""From a file in the spool to a report that the coordinator holds: grant, presigned PUT, report."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import httpx

from common.errors import Conflict, FarmError, Gone, Invalid, NotFound, Unavailable
from common.messages import Close, Grant, GrantRequest, Report, Spent
from common.wording import visible
from gpu_node.agent.announced import Announced, ForeignAddress, upload_headers
from gpu_node.agent.bandwidth import Bandwidth
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.progress import ActiveBatch
from gpu_node.agent.retry import pauses, retry_until
from gpu_node.pinned import PinnedContext
from gpu_node.protocol import Image
from gpu_node.system import read_carefully

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Uploads at a time: one waits for the network while another is reported.
_UPLOADS = 2
#: Shots that share their calls of the coordinator at the most.
_TOGETHER = 16
#: Without a byte in either direction; a slow store may take its time.
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
#: Times that a store may refuse an upload, with a fresh grant each and a longer pause before it, until the
#: shot is reported as failed: about a minute.
_REFUSALS = 10
#: The very bytes are there already: the key names their hash. An earlier call came through without an answer.
_THERE_ALREADY = 412
#: Characters of an answer of the store that are logged.
_SHOWN = 200
#: What the store says of bytes that are not those that were granted; other refusals are the farm's matter.
_BAD_BYTES = (400, 411, 413)
#: It is asked too much at this moment.
_BUSY = (408, 429)


class Refused(FarmError):
    """The store answered and did not take the upload; `kind` is one of `common.failures`."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class Abandoned(FarmError):
    """The batch was over before the call was answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderFacts:
    """What a report tells besides the file."""

    spent: Spent
    peak_bytes: int | None
    fingerprint: dict[str, Any]


class Deliverer:
    """Delivers the shots of one batch on its own threads, until the batch is over.

    What is ready at the same moment, such as the images of a pass, shares its calls of the coordinator.
    """

    def __init__(
        self, coordinator: Coordinator, store: httpx.Client, batch: ActiveBatch, spool: Path
    ) -> None:
        """`spool` is the folder of the engine's images, the only files that are uploaded and removed."""
        self._coordinator = coordinator
        self._store = store
        self._batch = batch
        self._spool = spool
        self._threads = ThreadPoolExecutor(max_workers=_UPLOADS, thread_name_prefix="deliver")
        self._pending: list[Future[None]] = []
        self._ready: SimpleQueue[tuple[Image, RenderFacts] | Report] = SimpleQueue()
        #: Keys that may be there: a PUT of them ended without an answer to rely on.
        self._maybe_there: set[str] = set()

    def image(self, image: Image, rendered: RenderFacts) -> None:
        """Upload and report one image; its file is gone afterwards."""
        self._deliver_soon((image, rendered))

    def failure(self, shot_id: str, kind: str, message: str, spent: Spent) -> None:
        """Report a shot that failed with a kind of `common.failures`."""
        self._deliver_soon(self._failed(shot_id, kind, message, spent))

    def _deliver_soon(self, one: tuple[Image, RenderFacts] | Report) -> None:
        self._ready.put(one)
        self._pending.append(self._threads.submit(self._run))

    def finish(self) -> None:
        """Return when everything given is reported, or the batch is over."""
        self._threads.shutdown(wait=True)
        for future in self._pending:
            future.result()

    def close(self, close: Close) -> bool:
        """Close the batch and tell all that it cost.

        False when its lease was lost, or when it was given up and nobody answers.
        """
        if self._batch.lost:
            return False
        whole = close.model_copy(update={"spent": self._batch.spent()})
        try:
            self._retry(lambda: self._coordinator.close_batch(self._batch.lease.batch_id, whole))
        except (Gone, Conflict, NotFound) as error:
            self._batch.lose(str(error))
            return False
        except Abandoned:
            return False
        return True

    def _run(self) -> None:
        """Deliver what is ready by now, if another thread has not taken it."""
        if self._batch.over.is_set():
            return
        try:
            ready = self._take()
            images = [one for one in ready if not isinstance(one, Report)]
            grants = self._granted([image for image, _ in images])
            reports = [one for one in ready if isinstance(one, Report)]
            with suppress(Abandoned):  # what was uploaded before is reported all the same
                for image, rendered in images:
                    reports += self._deliver(image, rendered, grants)
            self._report(reports)
        except Gone as error:
            self._batch.lose(str(error))
        except Abandoned:
            pass

    def _take(self) -> list[tuple[Image, RenderFacts] | Report]:
        ready: list[tuple[Image, RenderFacts] | Report] = []
        with suppress(Empty):
            while len(ready) < _TOGETHER:
                ready.append(self._ready.get_nowait())
        return ready

    def _granted(self, images: Sequence[Image]) -> dict[str, Grant]:
        """Shot to its first grant, asked for at once; each asks for itself where one of them is refused."""
        if len(images) < 2:
            return {}
        wishes = [self._wish(image) for image in images]
        try:
            grants = self._retry(lambda: self._coordinator.grants(self._batch.lease.batch_id, wishes))
        except (Gone, Abandoned):
            raise
        except FarmError:
            return {}
        return {image.shot_id: grant for image, grant in zip(images, grants, strict=True)}

    def _deliver(self, image: Image, rendered: RenderFacts, grants: dict[str, Grant]) -> list[Report]:
        """Upload a picture; the report that is due then, if any."""
        start = time.monotonic()
        try:
            grant = self._upload(image, grants)
        except Refused as error:
            return [self._failed(image.shot_id, error.kind, str(error), rendered.spent)]
        except Invalid as error:
            # Such as a picture larger than the farm takes: every node would render it in vain.
            return [self._failed(image.shot_id, "invalid_spec", str(error), rendered.spent)]
        except OSError as error:
            message = f"cannot read {image.file_in(self._spool)} ({error.strerror}): check that disk"
            return [self._failed(image.shot_id, "disk_full", message, rendered.spent)]
        except (Gone, Abandoned):
            raise
        except FarmError as error:
            self._note_undelivered(error)
            return []
        finally:
            with suppress(OSError):
                image.file_in(self._spool).unlink(missing_ok=True)
        upload_s = time.monotonic() - start
        self._batch.add("upload", upload_s)
        return [self._delivered(image, rendered, grant, upload_s)]

    def _delivered(self, image: Image, rendered: RenderFacts, grant: Grant, upload_s: float) -> Report:
        seconds = rendered.spent.seconds | {"save": image.save_s, "upload": upload_s}
        return Report(
            token=self._batch.lease.token,
            shot_id=image.shot_id,
            outcome="delivered",
            key=grant.key,
            sha256=image.sha256,
            size=image.size,
            spent=rendered.spent.model_copy(update={"seconds": seconds}),
            peak_bytes=rendered.peak_bytes,
            fingerprint=rendered.fingerprint,
        )

    def _upload(self, image: Image, grants: dict[str, Grant]) -> Grant:
        data = read_carefully(image.file_in(self._spool))
        for pause_s in islice(pauses(), _REFUSALS - 1):
            with suppress(Refused):
                return self._retry(lambda: self._put(image, data, grants))
            if self._batch.over.wait(pause_s):
                raise Abandoned(self._batch.reason)
        return self._retry(lambda: self._put(image, data, grants))

    def _put(self, image: Image, data: bytes, grants: dict[str, Grant]) -> Grant:
        """One try, with a grant of its own: an older one may have expired."""
        grant = grants.pop(image.shot_id, None)
        if grant is None:
            (grant,) = self._coordinator.grants(self._batch.lease.batch_id, [self._wish(image)])
        try:
            answer = self._store.put(grant.url, content=data, headers=upload_headers(grant.headers))
        except ForeignAddress as error:
            raise Refused("store_unavailable", str(error)) from error
        except httpx.HTTPError as error:
            self._maybe_there.add(grant.key)
            raise Unavailable(f"the store does not answer ({error or type(error).__name__})") from error
        if answer.is_success or (answer.status_code == _THERE_ALREADY and grant.key in self._maybe_there):
            return grant
        refusal = f"the store answered {answer.status_code} to PUT {grant.key}"
        # Only here: what answered may be none of the farm's business.
        log.warning("%s: %s", refusal, visible(answer.text[:_SHOWN]))
        if answer.is_server_error or answer.status_code in _BUSY:
            self._maybe_there.add(grant.key)
            raise Unavailable(refusal)
        raise Refused("upload_failed" if answer.status_code in _BAD_BYTES else "store_unavailable", refusal)

    def _wish(self, image: Image) -> GrantRequest:
        return GrantRequest(
            token=self._batch.lease.token,
            shot_id=image.shot_id,
            sha256=image.sha256,
            size=image.size,
            content_type=image.content_type,
        )

    def _report(self, reports: Sequence[Report]) -> None:
        if not reports:
            return
        try:
            self._retry(lambda: self._coordinator.report(self._batch.lease.batch_id, reports))
            self._batch.note_delivered(sum(one.outcome == "delivered" for one in reports))
        except (Gone, Abandoned):
            raise
        except FarmError as error:
            if len(reports) == 1:
                self._note_undelivered(error)
                return
            for one in reports:
                self._report([one])

    def _note_undelivered(self, error: FarmError) -> None:
        """The shot is neither stored nor failed: it waits again once the batch closes."""
        log.error("a shot of batch %s was not delivered: %s", self._batch.lease.batch_id, error)

    def _failed(self, shot_id: str, kind: str, message: str, spent: Spent) -> Report:
        return Report(
            token=self._batch.lease.token,
            shot_id=shot_id,
            outcome="failed",
            failure=kind,
            message=message,
            spent=spent,
        )

    def _retry(self, call: Callable[[], _T]) -> _T:
        """Repeat the call until it is answered; raises Abandoned once the batch is over."""
        answer = retry_until(self._batch.over, call)
        if answer is None:
            raise Abandoned(self._batch.reason)
        return answer


def open_store_client(
    announced: Announced | None = None, bandwidth: Bandwidth | None = None, *, pin: str = ""
) -> httpx.Client:
    """For presigned URLs that lead where the farm `announced`, within a `bandwidth`; None: for any.

    `pin`: of a farm that is a gateway. A proxy of the environment is used, but never leads back to this
    machine.
    """
    judge: ssl.SSLContext | bool = (
        PinnedContext(pin, announced.farm_host if announced else "") if pin else True
    )
    local = ("127.0.0.1", "localhost", "[::1]")
    direct = {f"all://{host}": httpx.HTTPTransport(verify=judge) for host in local}
    hooks: dict[str, list[Callable[..., Any]]] = {"request": [], "response": []}
    if announced is not None:
        hooks["request"].append(announced.check)
    if bandwidth is not None:
        hooks["request"].append(bandwidth.slow_upload)
        hooks["response"].append(bandwidth.slow_download)
    return httpx.Client(timeout=_TIMEOUT, mounts=direct, event_hooks=hooks, verify=judge)

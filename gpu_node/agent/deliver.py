"""From a file in the spool to a report that the coordinator holds: grant, presigned PUT, report."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import httpx

from common.errors import Conflict, FarmError, Gone, Invalid, NotFound, Unavailable
from common.messages import Close, Grant, GrantRequest, Report, Spent
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.progress import ActiveBatch
from gpu_node.agent.retry import pauses, retry_until
from gpu_node.protocol import Image

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Uploads at a time: one waits for the network while another is reported.
_UPLOADS = 2
#: Without a byte in either direction; a slow store may take its time.
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
#: Times that a store may refuse an upload, with a fresh grant each and a longer pause before it, until the
#: shot is reported as failed: about a minute.
_REFUSALS = 10
#: The very bytes are there already: the key names their hash. An earlier call came through without an answer.
_THERE_ALREADY = 412
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
class Rendered:
    """What a report tells besides the file."""

    spent: Spent
    peak_bytes: int | None
    fingerprint: dict[str, Any]


class Delivery:
    """Delivers the shots of one batch on its own threads, until the batch is over."""

    def __init__(self, coordinator: Coordinator, store: httpx.Client, batch: ActiveBatch) -> None:
        self._coordinator = coordinator
        self._store = store
        self._batch = batch
        self._threads = ThreadPoolExecutor(max_workers=_UPLOADS, thread_name_prefix="deliver")
        self._pending: list[Future[None]] = []
        #: Keys that may be there: a PUT of them ended without an answer to rely on.
        self._maybe_there: set[str] = set()

    def image(self, image: Image, rendered: Rendered) -> None:
        """Upload and report one image; its file is gone afterwards."""
        self._pending.append(self._threads.submit(self._run, self._deliver, image, rendered))

    def failure(self, shot_id: str, kind: str, message: str, spent: Spent) -> None:
        """Report a shot that failed with a kind of `common.failures`."""
        report = self._failed(shot_id, kind, message, spent)
        self._pending.append(self._threads.submit(self._run, self._report, report))

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

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        if self._batch.over.is_set():
            return
        try:
            work(*arguments)
        except Gone as error:
            self._batch.lose(str(error))
        except Abandoned:
            pass
        except FarmError as error:
            # The shot is neither stored nor failed: it waits again once the batch closes.
            log.error("a shot of batch %s was not delivered: %s", self._batch.lease.batch_id, error)

    def _deliver(self, image: Image, rendered: Rendered) -> None:
        start = time.monotonic()
        try:
            grant = self._upload(image)
        except Refused as error:
            self._report(self._failed(image.shot_id, error.kind, str(error), rendered.spent))
            return
        except Invalid as error:
            # Such as a picture larger than the farm takes: every node would render it in vain.
            self._report(self._failed(image.shot_id, "invalid_spec", str(error), rendered.spent))
            return
        except OSError as error:
            message = f"cannot read {image.file} back ({error.strerror}): look at that disk"
            self._report(self._failed(image.shot_id, "disk_full", message, rendered.spent))
            return
        finally:
            with suppress(OSError):
                image.file.unlink(missing_ok=True)
        upload_s = time.monotonic() - start
        self._batch.add("upload", upload_s)
        seconds = rendered.spent.seconds | {"save": image.save_s, "upload": upload_s}
        self._report(
            Report(
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
        )

    def _upload(self, image: Image) -> Grant:
        data = image.file.read_bytes()
        for pause_s in islice(pauses(), _REFUSALS - 1):
            with suppress(Refused):
                return self._retry(lambda: self._put(image, data))
            if self._batch.over.wait(pause_s):
                raise Abandoned(self._batch.reason)
        return self._retry(lambda: self._put(image, data))

    def _put(self, image: Image, data: bytes) -> Grant:
        """One try, with a grant of its own: an older one may have expired."""
        request = GrantRequest(
            token=self._batch.lease.token,
            shot_id=image.shot_id,
            sha256=image.sha256,
            size=image.size,
            content_type=image.content_type,
        )
        grant = self._coordinator.grant(self._batch.lease.batch_id, request)
        try:
            answer = self._store.put(grant.url, content=data, headers=grant.headers)
        except httpx.HTTPError as error:
            self._maybe_there.add(grant.key)
            raise Unavailable(f"the store does not answer ({error or type(error).__name__})") from error
        if answer.is_success or (answer.status_code == _THERE_ALREADY and grant.key in self._maybe_there):
            return grant
        said = f"the store answered {answer.status_code} to PUT {grant.key}: {answer.text[:200]}"
        if answer.is_server_error or answer.status_code in _BUSY:
            self._maybe_there.add(grant.key)
            raise Unavailable(said)
        raise Refused("upload_failed" if answer.status_code in _BAD_BYTES else "store_unavailable", said)

    def _report(self, report: Report) -> None:
        self._retry(lambda: self._coordinator.report(self._batch.lease.batch_id, report))

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


def open_store_client() -> httpx.Client:
    """For presigned URLs. A proxy of the environment is used, but never leads back to this machine."""
    direct = {f"all://{host}": httpx.HTTPTransport() for host in ("127.0.0.1", "localhost", "[::1]")}
    return httpx.Client(timeout=_TIMEOUT, mounts=direct)

"""The client of a farm for programs, and for the command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx

from common.bill import Bill
from common.client import calls
from common.client.calls import JobVerb
from common.client.event_reader import PASSING, SILENCE_S, EventReader
from common.client.http import FarmHttp, connection_to
from common.client.image_files import FETCH_TIMEOUT_S, checked, not_fetched, url_of
from common.errors import FarmError
from common.events import Event
from common.image_messages import OrderedImage, new_image
from common.key_messages import KeyView
from common.views import (
    ExportedFile,
    ImageView,
    JobSummary,
    JobView,
    ModelView,
    StatusView,
    Submit,
    Submitted,
)

TIMEOUT_S = 30.0
#: An image in one of these states will not change by itself.
ENDED = ("done", "withheld", "failed", "cancelled", "unschedulable", "paused")
STREAM_TIMEOUT = httpx.Timeout(TIMEOUT_S, read=SILENCE_S)

#: Is told what is wrong while a farm does not answer.
OnSilence = Callable[[FarmError], object]


class SyncFarm(FarmHttp):
    """A farm at an address, with a key. Thread-safe.

    Every method raises a FarmError with a sentence of the farm: Unauthorised, Forbidden, NotFound, Conflict,
    Invalid, TooMany, or Unavailable if it does not answer.

    >>> with SyncFarm("http://127.0.0.1:8080", key) as farm:  # doctest: +SKIP
    ...     image = farm.image("a red mug", model="z-image-turbo", wait=120)
    ...     Path("mug.png").write_bytes(farm.download(image))
    """

    def __init__(self, url: str, key: str | None = None, *, given_as: str = "url", remedy: str = "") -> None:
        """`url` as `farm up` prints it. Raises Invalid for what is no URL, or cannot be a key."""
        super().__init__(url, key, given_as=given_as, timeout_s=TIMEOUT_S, remedy=remedy)

    def submit(
        self,
        manifest: str | Mapping[str, Any] | Submit,
        *,
        owner: str | None = None,
        name: str | None = None,
        idempotency_key: str | None = None,
    ) -> Submitted:
        """Submit a manifest: YAML or JSON text, or a mapping.

        A submission that is sent again with the same `idempotency_key` makes no second job.
        """
        return self.do(calls.submit(manifest, owner=owner, name=name, idempotency_key=idempotency_key))

    def image(
        self,
        prompt: str,
        *,
        model: str,
        wait: float = 0.0,
        idempotency_key: str | None = None,
        **settings: Any,
    ) -> OrderedImage:
        """Order one image and wait for it, about `wait` seconds; `settings` are those of `NewImage`."""
        new = new_image(prompt=prompt, model=model, **settings)
        return self.wait(self.do(calls.order(new, wait, idempotency_key)), wait)

    def wait(self, image: OrderedImage, seconds: float) -> OrderedImage:
        """The image once it has ended, well or not, or after so many seconds."""
        ends_at = time.monotonic() + seconds
        while image.status not in ENDED and (left_s := ends_at - time.monotonic()) > 0:
            image = self.do(calls.look(image.id, left_s))
        return image

    def look(self, image_id: str) -> OrderedImage:
        """How far an ordered image is."""
        return self.do(calls.look(image_id))

    def jobs(
        self, *, owner: str | None = None, name: str | None = None, status: Sequence[str] = ()
    ) -> list[JobSummary]:
        """The newest first: all that the key may see, or those of an owner, of a `name` and with
        one of these `status`."""
        page = self.do(calls.job_page(owner=owner, name=name, status=status))
        found = list(page.jobs)
        while page.next is not None:
            page = self.do(calls.job_page(page.next, owner=owner, name=name, status=status))
            found += page.jobs
        return found

    def job(self, job_id: str) -> JobView:
        return self.do(calls.job(job_id))

    def steer_job(self, job_id: str, verb: JobVerb) -> JobView:
        """Such as `cancel`."""
        return self.do(calls.steer_job(job_id, verb))

    def shots(self, job_id: str, *, state: Sequence[str] = ()) -> Iterator[ImageView]:
        """The shots of a job in the manifest's order, or those in one of these states.

        A page is fetched, and the URLs of its images signed, when it is reached.
        """
        page = self.do(calls.shot_page(job_id, state=state))
        yield from page.shots
        while page.next is not None:
            page = self.do(calls.shot_page(job_id, page.next, state=state))
            yield from page.shots

    def export(self, job_id: str, position: int, export: str) -> ExportedFile:
        """An export of a stored image by name; the first call for it makes it."""
        return self.do(calls.export(job_id, position, export))

    def events(
        self, job_id: str | None = None, *, after: int | None = None, on_silence: OnSilence | None = None
    ) -> Iterator[Event]:
        """What happens to a job, or to all that the key may see, from now on or behind the event `after`.

        Does not end by itself: it connects again and misses nothing, until the caller leaves it. `on_silence`
        is told why the farm does not answer, and ends the events by raising. Raises NotFound if there is no
        such job, Unauthorised if the key has ended.
        """
        reader = EventReader(after)
        while True:
            error: FarmError | None = None
            try:
                yield from self._stream(calls.event_path(job_id), reader)
            except PASSING as passing:
                error = passing
                if on_silence is not None:
                    on_silence(error)
            time.sleep(reader.pause_s(error))

    def _stream(self, path: str, reader: EventReader) -> Iterator[Event]:
        try:
            with self._http.stream("GET", path, headers=reader.headers(), timeout=STREAM_TIMEOUT) as answer:
                if not answer.is_success:
                    raise self._refusal(path, answer.status_code, answer.read())
                for received in answer.iter_bytes():
                    yield from reader.events(received)
        except httpx.HTTPError as error:
            raise self._silence(error) from error

    def download(self, image: ImageView) -> bytes:
        """The file of a stored image. Raises NotFound if it is not stored, Gone if its URL has expired."""
        url = url_of(image)
        try:
            # The store is not the farm: it must not see the key.
            answer = httpx.get(url, timeout=FETCH_TIMEOUT_S, **connection_to(url))
        except httpx.HTTPError as error:
            raise not_fetched(image, error) from error
        return checked(image, answer)

    def costs(self, month: str | None = None, owner: str | None = None) -> Bill:
        """The bill of a month such as `2026-11`; the present one without."""
        return self.do(calls.costs(month, owner))

    def models(self) -> list[ModelView]:
        """The models of the catalog, each with the nodes that have its files."""
        return list((self.do(calls.models())).data)

    def status(self) -> StatusView:
        return self.do(calls.status())

    def whoami(self) -> KeyView:
        """What the key of this client allows, and what it has used."""
        return self.do(calls.whoami())

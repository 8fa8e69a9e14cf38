"""Clients of a farm for programs: `SyncFarm`, and `AsyncFarm` for those with an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import httpx

from common.bill import Bill
from common.client import calls
from common.client.calls import JobVerb
from common.client.event_reader import PASSING, SILENCE_S, EventReader
from common.client.http import AsyncFarmHttp, FarmHttp
from common.errors import FarmError, Gone, NotFound, Unavailable
from common.events import Event
from common.image_messages import NewImage, OrderedImage
from common.key_messages import KeyView
from common.views import ExportedFile, ImageView, JobSummary, JobView, StatusView, Submit, Submitted

_TIMEOUT_S = 30.0
#: For an image or a file.
_FETCH_TIMEOUT_S = 60.0
#: An image in one of these states will not change by itself.
_ENDED = ("done", "failed", "cancelled", "unschedulable", "paused")
_STREAM_TIMEOUT = httpx.Timeout(_TIMEOUT_S, read=SILENCE_S)

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
        super().__init__(url, key, given_as=given_as, timeout_s=_TIMEOUT_S, remedy=remedy)

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
        new = NewImage(prompt=prompt, model=model, **settings)
        return self.wait(self.do(calls.order(new, wait, idempotency_key)), wait)

    def wait(self, image: OrderedImage, seconds: float) -> OrderedImage:
        """The image once it has ended, well or not, or after so many seconds."""
        ends_at = time.monotonic() + seconds
        while image.status not in _ENDED and (left_s := ends_at - time.monotonic()) > 0:
            image = self.do(calls.look(image.id, left_s))
        return image

    def look(self, image_id: str) -> OrderedImage:
        """How far an ordered image is."""
        return self.do(calls.look(image_id))

    def jobs(self, *, owner: str | None = None, status: Sequence[str] = ()) -> list[JobSummary]:
        """The newest first: all that the key may see, or those of an owner and with one of these `status`."""
        page = self.do(calls.job_page(owner=owner, status=status))
        found = list(page.jobs)
        while page.next is not None:
            page = self.do(calls.job_page(page.next, owner=owner, status=status))
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
            with self._http.stream("GET", path, headers=reader.headers(), timeout=_STREAM_TIMEOUT) as answer:
                if not answer.is_success:
                    raise self._refusal(path, answer.status_code, answer.read())
                for line in answer.iter_lines():
                    if (event := reader.line(line)) is not None:
                        yield event
        except httpx.HTTPError as error:
            raise self._silence(error) from error

    def download(self, image: ImageView) -> bytes:
        """The file of a stored image. Raises NotFound if it is not stored, Gone if its URL has expired."""
        url = _url_of(image)
        try:
            # The store is not the farm: it must not see the key.
            answer = httpx.get(url, timeout=_FETCH_TIMEOUT_S, **self._options)
        except httpx.HTTPError as error:
            raise _not_fetched(image, error) from error
        return _checked(image, answer)

    def costs(self, month: str | None = None, owner: str | None = None) -> Bill:
        """The bill of a month such as `2026-11`; the present one without."""
        return self.do(calls.costs(month, owner))

    def status(self) -> StatusView:
        return self.do(calls.status())

    def whoami(self) -> KeyView:
        """What the key of this client allows, and what it has used."""
        return self.do(calls.whoami())


class AsyncFarm(AsyncFarmHttp):
    """As `SyncFarm`, for programs with an event loop."""

    def __init__(self, url: str, key: str | None = None) -> None:
        """`url` as `farm up` prints it. Raises Invalid for what is no URL, or cannot be a key."""
        super().__init__(url, key, given_as="url", timeout_s=_TIMEOUT_S)

    async def submit(
        self,
        manifest: str | Mapping[str, Any] | Submit,
        *,
        owner: str | None = None,
        name: str | None = None,
        idempotency_key: str | None = None,
    ) -> Submitted:
        return await self.do(calls.submit(manifest, owner=owner, name=name, idempotency_key=idempotency_key))

    async def image(
        self,
        prompt: str,
        *,
        model: str,
        wait: float = 0.0,
        idempotency_key: str | None = None,
        **settings: Any,
    ) -> OrderedImage:
        new = NewImage(prompt=prompt, model=model, **settings)
        return await self.wait(await self.do(calls.order(new, wait, idempotency_key)), wait)

    async def wait(self, image: OrderedImage, seconds: float) -> OrderedImage:
        ends_at = time.monotonic() + seconds
        while image.status not in _ENDED and (left_s := ends_at - time.monotonic()) > 0:
            image = await self.do(calls.look(image.id, left_s))
        return image

    async def look(self, image_id: str) -> OrderedImage:
        return await self.do(calls.look(image_id))

    async def jobs(self, *, owner: str | None = None, status: Sequence[str] = ()) -> list[JobSummary]:
        page = await self.do(calls.job_page(owner=owner, status=status))
        found = list(page.jobs)
        while page.next is not None:
            page = await self.do(calls.job_page(page.next, owner=owner, status=status))
            found += page.jobs
        return found

    async def job(self, job_id: str) -> JobView:
        return await self.do(calls.job(job_id))

    async def steer_job(self, job_id: str, verb: JobVerb) -> JobView:
        return await self.do(calls.steer_job(job_id, verb))

    async def shots(self, job_id: str, *, state: Sequence[str] = ()) -> AsyncIterator[ImageView]:
        page = await self.do(calls.shot_page(job_id, state=state))
        while True:
            for shot in page.shots:
                yield shot
            if page.next is None:
                return
            page = await self.do(calls.shot_page(job_id, page.next, state=state))

    async def export(self, job_id: str, position: int, export: str) -> ExportedFile:
        return await self.do(calls.export(job_id, position, export))

    async def events(
        self, job_id: str | None = None, *, after: int | None = None, on_silence: OnSilence | None = None
    ) -> AsyncIterator[Event]:
        reader = EventReader(after)
        while True:
            error: FarmError | None = None
            try:
                async for event in self._stream(calls.event_path(job_id), reader):
                    yield event
            except PASSING as passing:
                error = passing
                if on_silence is not None:
                    on_silence(error)
            await asyncio.sleep(reader.pause_s(error))

    async def _stream(self, path: str, reader: EventReader) -> AsyncIterator[Event]:
        asking = self._http.stream("GET", path, headers=reader.headers(), timeout=_STREAM_TIMEOUT)
        try:
            async with asking as answer:
                if not answer.is_success:
                    raise self._refusal(path, answer.status_code, await answer.aread())
                async for line in answer.aiter_lines():
                    if (event := reader.line(line)) is not None:
                        yield event
        except httpx.HTTPError as error:
            raise self._silence(error) from error

    async def download(self, image: ImageView) -> bytes:
        url = _url_of(image)
        try:
            async with httpx.AsyncClient(timeout=_FETCH_TIMEOUT_S, **self._options) as http:
                return _checked(image, await http.get(url))
        except httpx.HTTPError as error:
            raise _not_fetched(image, error) from error

    async def costs(self, month: str | None = None, owner: str | None = None) -> Bill:
        return await self.do(calls.costs(month, owner))

    async def status(self) -> StatusView:
        return await self.do(calls.status())

    async def whoami(self) -> KeyView:
        return await self.do(calls.whoami())


def _url_of(image: ImageView) -> str:
    if image.url is None:
        why = f": {image.message}" if image.message else ""
        raise NotFound(f"image {image.name} is {image.state}, not stored{why}")
    return image.url


def _not_fetched(image: ImageView, error: Exception) -> Unavailable:
    reason = (str(error) or type(error).__name__).rpartition("] ")[2]
    return Unavailable(f"image {image.name} cannot be fetched ({reason}); try again")


def _checked(image: ImageView, answer: httpx.Response) -> bytes:
    if answer.status_code in (401, 403, 404, 410):
        raise Gone(f"the URL of image {image.name} has expired; ask the farm for the image again")
    if not answer.is_success:
        raise Unavailable(f"image {image.name} cannot be fetched (status {answer.status_code}); try again")
    if sha256(answer.content).hexdigest() != image.sha256:
        raise Unavailable(f"image {image.name} arrived damaged; fetch it again")
    return answer.content

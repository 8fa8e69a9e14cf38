"""The client of a farm for programs with an event loop; apart, so that commands need not load asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx

from common.bill import Bill
from common.client import calls
from common.client.calls import JobVerb
from common.client.event_reader import PASSING, EventReader
from common.client.farm import ENDED, STREAM_TIMEOUT, TIMEOUT_S, OnSilence
from common.client.http import AsyncFarmHttp, connection_to
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


class AsyncFarm(AsyncFarmHttp):
    """As `SyncFarm`, for programs with an event loop."""

    def __init__(self, url: str, key: str | None = None) -> None:
        """`url` as `farm up` prints it. Raises Invalid for what is no URL, or cannot be a key."""
        super().__init__(url, key, given_as="url", timeout_s=TIMEOUT_S)

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
        new = new_image(prompt=prompt, model=model, **settings)
        return await self.wait(await self.do(calls.order(new, wait, idempotency_key)), wait)

    async def wait(self, image: OrderedImage, seconds: float) -> OrderedImage:
        ends_at = time.monotonic() + seconds
        while image.status not in ENDED and (left_s := ends_at - time.monotonic()) > 0:
            image = await self.do(calls.look(image.id, left_s))
        return image

    async def look(self, image_id: str) -> OrderedImage:
        return await self.do(calls.look(image_id))

    async def jobs(
        self, *, owner: str | None = None, name: str | None = None, status: Sequence[str] = ()
    ) -> list[JobSummary]:
        page = await self.do(calls.job_page(owner=owner, name=name, status=status))
        found = list(page.jobs)
        while page.next is not None:
            page = await self.do(calls.job_page(page.next, owner=owner, name=name, status=status))
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
        asking = self._http.stream("GET", path, headers=reader.headers(), timeout=STREAM_TIMEOUT)
        try:
            async with asking as answer:
                if not answer.is_success:
                    raise self._refusal(path, answer.status_code, await answer.aread())
                async for received in answer.aiter_bytes():
                    for event in reader.events(received):
                        yield event
        except httpx.HTTPError as error:
            raise self._silence(error) from error

    async def download(self, image: ImageView) -> bytes:
        url = url_of(image)
        try:
            async with httpx.AsyncClient(timeout=FETCH_TIMEOUT_S, **connection_to(url)) as http:
                return checked(image, await http.get(url))
        except httpx.HTTPError as error:
            raise not_fetched(image, error) from error

    async def costs(self, month: str | None = None, owner: str | None = None) -> Bill:
        return await self.do(calls.costs(month, owner))

    async def models(self) -> list[ModelView]:
        return list((await self.do(calls.models())).data)

    async def status(self) -> StatusView:
        return await self.do(calls.status())

    async def whoami(self) -> KeyView:
        return await self.do(calls.whoami())

"""Webhooks: events are posted in the order of the log, from a thread of their own.

The ledger keeps for each webhook up to which event its receiver has been told, so that a restart loses none.
A receiver that fails is tried again, ever more rarely; meanwhile its events wait in the log, for a day.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random

from common.errors import FarmError
from common.events import JobUpdate, ShotUpdate
from common.webhooks import WebhookAnswer, WebhookMessage, signed_headers
from coordinator.background.receivers import Receivers
from coordinator.calls.thread_pools import ThreadPool
from coordinator.ledger import Act, EventPage, Ledger, StoredWebhook, WebhookProgress

log = logging.getLogger(__name__)

#: Events of one message.
_AT_ONCE = 100
#: Posts under way.
_TOGETHER = 8
#: Seconds between two rounds, and after a post that failed: doubled each time, at most an hour.
_REST_S, _FIRST_S, _LONGEST_S = 1.0, 5.0, 3600.0
#: Seconds for which an event is sent to a receiver that fails.
_GIVE_UP_S = 86400.0
#: Events of no interest to a webhook after which the ledger is told that it is further.
_UNTOLD = 10_000
#: Seconds after which a webhook whose key has expired is looked at again.
_NOT_LIVE_S = 60.0


@dataclass(slots=True)
class _Hook:
    stored: StoredWebhook
    #: As stored, or further where nothing of what came since is for it.
    progress: WebhookProgress
    #: The event up to which it is stored.
    stored_cursor: int
    busy: bool = False


class WebhookSender:
    """`wake` and `reload` may be called from any thread."""

    def __init__(
        self,
        ledger: Ledger,
        thread: ThreadPool,
        receivers: Receivers,
        *,
        note_post: Callable[[bool], None],
        note_given_up: Callable[[int], None],
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> None:
        """`note_post` hears whether a post was taken, `note_given_up` of events that never were."""
        self._ledger = ledger
        self._thread = thread
        self._receivers = receivers
        self._note_post, self._note_given_up = note_post, note_given_up
        self._clock = clock
        self._random = random or Random()
        self._hooks: dict[str, _Hook] = {}
        self._outdated = True
        self._loop = asyncio.new_event_loop()
        self._bell = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(_TOGETHER)
        self._sending = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        self._sending.start()

    def stop(self) -> None:
        """End; posts under way are broken off, and sent again after the next start."""
        with suppress(RuntimeError):  # it has ended already
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._sending.join()

    def wake(self) -> None:
        """Look for new events, if there is any webhook."""
        if self._hooks or self._outdated:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._bell.set)

    def reload(self) -> None:
        """Read the webhooks anew: some were added or removed."""
        self._outdated = True
        self.wake()

    async def test(self, webhook_id: str, owner: str | None, act: Act) -> WebhookAnswer:
        """Post a message without events, and record the answer. Raises NotFound."""
        hook = await self._thread.run(self._ledger.webhooks.one, webhook_id, owner)
        answer = await self._post(hook, [], f"{hook.id}.test")
        await self._thread.run(self._ledger.webhooks.note_progress, webhook_id, None, answer, act=act)
        return answer

    def _run(self) -> None:
        main = self._loop.create_task(self._rounds())
        try:
            self._loop.run_forever()
        finally:
            for task in (main, *self._tasks):
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(main, *self._tasks, return_exceptions=True))
            # Does not wait for a name server that does not answer.
            self._loop.close()

    async def _rounds(self) -> None:
        trouble = ""
        while True:
            self._bell.clear()
            wait_s = _LONGEST_S
            try:
                wait_s = await self._round()
                trouble = ""
            except FarmError as error:
                if str(error) != trouble:
                    log.error("webhooks: %s", error)
                trouble, wait_s = str(error), _REST_S
            except Exception:
                log.exception("webhooks failed")
            await asyncio.sleep(_REST_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._bell.wait()

    async def _round(self) -> float:
        """Send what is due; returns the seconds until more may be."""
        if self._outdated:
            self._outdated = False
            stored = await self._thread.run(self._ledger.webhooks.stored)
            known = self._hooks
            self._hooks = {one.id: known.get(one.id) or _hook(one) for one in stored}
        now, wait_s = self._clock(), _LONGEST_S
        #: One page for all that are as far; most are.
        pages: dict[int, EventPage] = {}
        for hook in self._hooks.values():
            if hook.busy:
                continue
            if (left_s := hook.progress.next_at - now) > 0:
                wait_s = min(wait_s, left_s)
                continue
            after = hook.progress.cursor
            if after not in pages:
                pages[after] = await self._thread.run(self._ledger.events.page, after)
            if self._take(hook, pages[after], now):
                wait_s = 0.0
            if hook.progress.cursor - hook.stored_cursor > _UNTOLD and not hook.busy:
                await self._note(hook, None)
        return wait_s

    def _take(self, hook: _Hook, page: EventPage, now: float) -> bool:
        """Begin to send what is for a webhook; returns whether it has to be looked at again."""
        progress = hook.progress
        events = list(_wanted(hook.stored, page))
        if progress.tries and (old := [event for event in events if event.at < now - _GIVE_UP_S]):
            self._note_given_up(len(old))
            given_up = progress.given_up + len(old)
            hook.progress = replace(progress, cursor=old[-1].id, sending=None, given_up=given_up)
            return True
        if progress.sending is not None:
            # What is sent again is the same message.
            events = [event for event in events if event.id <= (progress.sending or 0)]
        until = page.last
        if len(events) > _AT_ONCE:
            until = events[_AT_ONCE - 1].id
            events = [event for event in events if event.id <= until]
        if not events:
            hook.progress = replace(progress, cursor=progress.sending or page.last, sending=None)
            return page.more or progress.sending is not None
        hook.busy = True
        task = self._loop.create_task(self._send(hook, events, progress.sending or until))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return False

    async def _send(self, hook: _Hook, events: list[ShotUpdate | JobUpdate], until: int) -> None:
        """Post a message, and record how far the webhook is since."""
        stored, progress = hook.stored, hook.progress
        try:
            async with self._room:
                if not await self._thread.run(self._ledger.webhooks.is_live, stored.id):
                    hook.progress = replace(progress, next_at=self._clock() + _NOT_LIVE_S)
                    return
                answer = await self._post(stored, events, f"{stored.id}.{until}")
            self._note_post(answer.is_good)
            if answer.is_good:
                hook.progress = WebhookProgress(cursor=until, given_up=progress.given_up)
            else:
                hook.progress = self._later(progress, until)
            await self._note(hook, answer)
        except FarmError as error:
            # It is sent again after a restart.
            log.error("webhook %s: %s", stored.id, error)
        finally:
            hook.busy = False
            self._bell.set()

    async def _note(self, hook: _Hook, answer: WebhookAnswer | None) -> None:
        await self._thread.run(self._ledger.webhooks.note_progress, hook.stored.id, hook.progress, answer)
        hook.stored_cursor = hook.progress.cursor

    def _later(self, progress: WebhookProgress, until: int) -> WebhookProgress:
        now = self._clock()
        pause_s = min(_FIRST_S * 2 ** min(progress.tries, 16), _LONGEST_S) * self._random.uniform(0.8, 1.2)
        return replace(
            progress,
            sending=until,
            tries=progress.tries + 1,
            failing_since=progress.failing_since or now,
            next_at=now + pause_s,
        )

    async def _post(
        self, hook: StoredWebhook, events: list[ShotUpdate | JobUpdate], message_id: str
    ) -> WebhookAnswer:
        body = WebhookMessage(webhook=hook.id, events=tuple(events)).model_dump_json().encode()
        headers = signed_headers(hook.secret, message_id, int(self._clock()), body)
        return await self._receivers.post(hook.url, headers, body, len(events))


def _hook(stored: StoredWebhook) -> _Hook:
    return _Hook(stored, stored.progress, stored.progress.cursor)


def _wanted(hook: StoredWebhook, page: EventPage) -> Iterator[ShotUpdate | JobUpdate]:
    """The events of a page that a webhook is for, oldest first."""
    owners = {event.job: event.owner for event in page.jobs}
    found: list[ShotUpdate | JobUpdate] = []
    if "shot" in hook.events:
        found += (event for event in page.shots if hook.owner in (None, owners[event.job]))
    if "job" in hook.events:
        found += (
            event.model_copy(update={"id": page.ended[event.job]})
            for event in page.jobs
            if event.ended and hook.owner in (None, event.owner)
        )
    yield from sorted(found, key=lambda event: (event.id, event.type == "job"))

"""Event streams: one reader of the event log for all who watch, woken by commits.

While nobody watches nothing is read. What is read is encoded once for all who get the same; a watcher that
does not keep up is dropped, reconnects with the ID of its last event, and gets the rest from the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from common.errors import FarmError, TooMany, Unavailable
from common.events import Event, JobUpdate, ShotUpdate, StreamReset
from coordinator.calls.thread_pools import ThreadPool
from coordinator.ledger import EVERYTHING, EventPage, Ledger, Topic

log = logging.getLogger(__name__)

#: Seconds between two reads of the log: what is committed meanwhile is read together.
_REST_S = 0.2
#: Seconds after which a silent stream sends a comment, so that nothing in between ends it.
_KEEP_ALIVE_S = 15.0
#: Reads that a watcher may be behind before it is dropped.
_MOST_BEHIND = 64
#: Open streams of this coordinator, and of one owner.
_MOST, _MOST_OF_OWNER = 2000, 100
#: Asks clients to reconnect after so many milliseconds.
_HELLO = b"retry: 1000\n\n"
_COMMENT = b":\n\n"


@dataclass(eq=False, slots=True)
class Watcher:
    """Somebody with an open stream."""

    topic: Topic
    #: What it has not got yet, encoded; shared with others who get the same.
    behind: deque[bytes] = field(default_factory=deque)
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    dropped: bool = False

    def put(self, encoded: bytes) -> None:
        """Add to what it has not got; drops it if that has become too much."""
        if len(self.behind) == _MOST_BEHIND:
            self.dropped = True
            self.behind.clear()
        if not self.dropped:
            self.behind.append(encoded)
        self.bell.set()


class EventStreams:
    """Streams on one event loop; `wake` may be called from any thread."""

    def __init__(self, ledger: Ledger, thread: ThreadPool, *, longest_s: float) -> None:
        """A stream ends after `longest_s`, so that its watcher shows its key again."""
        self._ledger = ledger
        self._thread = thread
        self._longest_s = longest_s
        self._watchers: dict[Topic, set[Watcher]] = {}
        self._by_owner: Counter[str | None] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        #: ID of the last event that watchers were told of, once it is known.
        self._position: asyncio.Future[int] | None = None
        self._closed = False

    def wake(self) -> None:
        """Read the log, if anybody watches."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has been closed: nobody watches
                self._loop.call_soon_threadsafe(self._bell.set)

    def close(self) -> None:
        """End every stream; to be called on the event loop."""
        self._closed = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.bell.set()

    def __len__(self) -> int:
        return sum(map(len, self._watchers.values()))

    async def stream(
        self,
        topic: Topic,
        after: int | None,
        *,
        hung_up: asyncio.Future[None],
        still_allowed: Callable[[], object],
    ) -> AsyncGenerator[bytes, None]:
        """Server-sent events behind `after` (None: from now on); a stream of one job begins with its state.

        Ends when the watcher `hung_up`, is too slow, or is no longer allowed (`still_allowed` raises).
        Raises TooMany or Unavailable before the first event.
        """
        watcher = self._join(topic)
        hung_up.add_done_callback(lambda _: watcher.bell.set())
        try:
            assert self._position is not None
            now = await asyncio.shield(self._position)
            yield _HELLO
            async for encoded in self._missed(topic, after, now):
                yield encoded
            async for encoded in self._new(watcher, hung_up, still_allowed):
                yield encoded
        finally:
            self._leave(watcher)

    def _join(self, topic: Topic) -> Watcher:
        if len(self) >= _MOST:
            raise Unavailable(f"{_MOST:,} event streams are open on this coordinator; try again later")
        if topic.owner is not None and self._by_owner[topic.owner] >= _MOST_OF_OWNER:
            raise TooMany(f"{topic.owner} has {_MOST_OF_OWNER} event streams open: close some of them", 10.0)
        watcher = Watcher(topic)
        self._watchers.setdefault(topic, set()).add(watcher)
        self._by_owner[topic.owner] += 1
        if self._reading is None:
            self._loop = asyncio.get_running_loop()
            self._position = self._loop.create_future()
            self._reading = self._loop.create_task(self._read())
        return watcher

    def _leave(self, watcher: Watcher) -> None:
        self._watchers[watcher.topic].remove(watcher)
        if not self._watchers[watcher.topic]:
            del self._watchers[watcher.topic]
        self._by_owner[watcher.topic.owner] -= 1
        if not self._watchers and self._reading is not None:
            self._reading.cancel()
            self._reading = self._position = None

    async def _missed(self, topic: Topic, after: int | None, now: int) -> AsyncGenerator[bytes, None]:
        """What the log has behind `after` up to `now`, and the state of the job."""
        run = self._thread.run
        if after is not None and not await run(self._ledger.events.keeps, after):
            yield _encoded([StreamReset(id=now)])
            after = now
        after = now if after is None else after
        # Whoever was told of the last shot may not have been told what became of its job.
        read = after - 1 if after < now else now
        while read < now:
            page = await run(self._ledger.events.page, read, topic)
            shots = [event for event in page.shots if after < event.id <= now]
            jobs = [event.model_copy(update={"id": min(event.id, now)}) for event in page.jobs]
            yield _encoded([*shots, *jobs])
            read = page.last
        if topic.job is not None:
            state = await run(self._ledger.events.job, topic.job)
            yield _encoded([state.model_copy(update={"id": now})])
        else:
            # So that whoever reconnects before the first event misses none.
            yield b"id: %d\n\n" % now

    async def _new(
        self, watcher: Watcher, hung_up: asyncio.Future[None], still_allowed: Callable[[], object]
    ) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._longest_s
        checked_at = loop.time()
        while not (self._closed or hung_up.done() or watcher.dropped):
            if not watcher.behind:
                watcher.bell.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(min(checked_at + _KEEP_ALIVE_S, ends_at)):
                        await watcher.bell.wait()
            if loop.time() >= ends_at:
                return
            # Before what was waited for is told: the key may have been revoked meanwhile.
            if loop.time() >= checked_at + _KEEP_ALIVE_S:
                try:
                    still_allowed()
                except FarmError:
                    return
                checked_at = loop.time()
            if watcher.behind:
                encoded = b"".join(watcher.behind)
                watcher.behind.clear()
                yield encoded
            elif not watcher.bell.is_set():
                yield _COMMENT

    async def _read(self) -> None:
        """Tell watchers what is committed, until the last of them leaves."""
        position = self._position
        assert position is not None
        try:
            last = await self._thread.run(self._ledger.events.last)
        except Exception as error:
            position.set_exception(error)
            # The next watcher begins anew.
            self._reading = self._position = None
            return
        position.set_result(last)
        while True:
            await self._bell.wait()
            self._bell.clear()
            try:
                page = await self._thread.run(self._ledger.events.page, last)
                self._tell(page)
                last = page.last
            except Exception as error:
                # Read again: without a reader all streams would be silent, and nobody would notice.
                unexpected = None if isinstance(error, FarmError) else error
                log.error("event streams: %s", error, exc_info=unexpected)
                self._bell.set()
            await asyncio.sleep(_REST_S)

    def _tell(self, page: EventPage) -> None:
        """Tell every watcher what is its part of a page about everything."""
        for topic, events in _by_topic(page).items():
            if watchers := self._watchers.get(topic):
                encoded = _encoded(events)
                for watcher in watchers:
                    watcher.put(encoded)
        if page.more:
            self._bell.set()
        self._position = asyncio.get_running_loop().create_future()
        self._position.set_result(page.last)


def _by_topic(page: EventPage) -> dict[Topic, list[Event]]:
    """The events of a page by each topic that they belong to."""
    owners = {event.job: event.owner for event in page.jobs}
    found: dict[Topic, list[Event]] = {}
    events: list[ShotUpdate | JobUpdate] = [*page.shots, *page.jobs]
    for event in events:
        job, owner = event.job, owners[event.job]
        for topic in (EVERYTHING, Topic(owner=owner), Topic(job), Topic(job, owner)):
            found.setdefault(topic, []).append(event)
    return found


def _encoded(events: Iterable[Event]) -> bytes:
    """As server-sent events, by ID; a job comes after the shots that changed it."""
    return b"".join(
        b"event: %s\nid: %d\ndata: %s\n\n" % (event.type.encode(), event.id, event.model_dump_json().encode())
        for event in sorted(events, key=lambda event: (event.id, event.type == "job"))
    )

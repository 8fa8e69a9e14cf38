"""What a node is doing, told by the threads that do it and read by the heartbeat."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from common.messages import Beat, Lease, Spent
from gpu_node.energy import Meter, Method
from gpu_node.protocol import Load


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment of the work, to measure from."""

    seconds: float
    joules: float


class BatchInHand:
    """One leased batch while it is worked on: what it has cost, how far it is, what became of its lease."""

    def __init__(self, lease: Lease, meter: Meter, clock: Callable[[], float] = time.monotonic) -> None:
        self.lease = lease
        self.steps_done = 0
        self.shots_done = 0
        #: Set when nothing more is done for this batch; `reason` says why.
        self.over = threading.Event()
        self.reason = ""
        #: Whether it is over because the coordinator took the lease away.
        self.lost = False
        self._meter = meter
        self._clock = clock
        self._lock = threading.Lock()
        self._start = self.mark()
        self._seconds: dict[str, float] = {}
        self._running: tuple[str, float] | None = None
        self._cancelled: set[str] = set()

    @property
    def energy_method(self) -> Method:
        return self._meter.method

    def mark(self) -> Mark:
        return Mark(self._clock(), self._meter.joules())

    def since(self, mark: Mark) -> Mark:
        """Seconds and joules from `mark` to now."""
        now = self.mark()
        return Mark(now.seconds - mark.seconds, now.joules - mark.joules)

    def begin(self, phase: str) -> Mark:
        """The engine works on `phase` from now on, until `end`."""
        self._meter.work(True)
        with self._lock:
            self._running = (phase, self._clock())
        return self.mark()

    def end(self, seconds: dict[str, float]) -> None:
        """The running phase is over and took these seconds by phase."""
        self._meter.work(False)
        with self._lock:
            self._running = None
            for phase, took in seconds.items():
                self._seconds[phase] = self._seconds.get(phase, 0.0) + took

    def add(self, phase: str, seconds: float) -> None:
        """Work beside the engine: saving, uploading."""
        with self._lock:
            self._seconds[phase] = self._seconds.get(phase, 0.0) + seconds

    def spent(self) -> Spent:
        """All that the batch has cost so far, the running phase included."""
        with self._lock:
            seconds = dict(self._seconds)
            if self._running is not None:
                phase, since = self._running
                seconds[phase] = seconds.get(phase, 0.0) + self._clock() - since
        joules = max(self._meter.joules() - self._start.joules, 0.0)
        return Spent(joules=joules, energy_method=self._meter.method, seconds=seconds)

    def count_shot(self) -> None:
        with self._lock:
            self.shots_done += 1

    def lose(self, reason: str) -> None:
        """The lease is over: nothing of this batch may be done or said any more."""
        self.lost = True
        self.give_up(reason)

    def give_up(self, reason: str) -> None:
        """Do no more for this batch; what is undone is handed back."""
        self.reason = reason
        self.over.set()

    def cancel(self, shots: Iterable[str]) -> None:
        with self._lock:
            self._cancelled.update(shots)

    def is_wanted(self, shot_id: str) -> bool:
        with self._lock:
            return shot_id not in self._cancelled


class Progress:
    """The batch in hand, or the time and energy that passed without one.

    `held` tells what the engine holds.
    """

    def __init__(
        self, meter: Meter, held: Callable[[], Load | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._held = held
        self._meter = meter
        self._clock = clock
        self._lock = threading.Lock()
        self._batch: BatchInHand | None = None
        self._idle = Mark(0.0, 0.0)
        self._idle_since = self._now()

    @property
    def batch(self) -> BatchInHand | None:
        return self._batch

    def take(self, lease: Lease) -> BatchInHand:
        with self._lock:
            self._bank_idle()
            self._batch = BatchInHand(lease, self._meter, self._clock)
            return self._batch

    def leave(self) -> None:
        """The batch in hand is closed or lost."""
        with self._lock:
            self._batch = None
            self._idle_since = self._now()

    def beat(self, incarnation: int) -> Beat:
        with self._lock:
            batch, held = self._batch, self._held()
            if batch is None:
                self._bank_idle()
            return Beat(
                incarnation=incarnation,
                batch_id=batch and batch.lease.batch_id,
                token=batch and batch.lease.token,
                spent=batch.spent() if batch else Spent(),
                steps_done=batch.steps_done if batch else 0,
                shots_done=batch.shots_done if batch else 0,
                loaded_model=held.model if held else None,
                loaded_loras=tuple(lora.name for lora in held.loras) if held else (),
                watts=self._meter.watts(),
                temperature_c=self._meter.temperature_c(),
                idle_s=self._idle.seconds,
                idle_joules=self._idle.joules,
            )

    def heard(self, beat: Beat) -> None:
        """The coordinator has this beat: its idle time is not told again."""
        with self._lock:
            self._idle = Mark(
                max(self._idle.seconds - beat.idle_s, 0.0), max(self._idle.joules - beat.idle_joules, 0.0)
            )

    def _bank_idle(self) -> None:
        now = self._now()
        self._idle = Mark(
            self._idle.seconds + now.seconds - self._idle_since.seconds,
            self._idle.joules + max(now.joules - self._idle_since.joules, 0.0),
        )
        self._idle_since = now

    def _now(self) -> Mark:
        return Mark(self._clock(), self._meter.joules())

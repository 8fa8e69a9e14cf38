"""What a node is doing, told by the threads that do it and read by the heartbeat."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from common.messages import Heartbeat, Lease, Spent
from gpu_node.energy import Meter, Method
from gpu_node.protocol import Load


@dataclass(frozen=True, slots=True)
class Effort:
    """Of time and of the card's energy: spent on something, or counted from a start."""

    seconds: float = 0.0
    joules: float = 0.0

    def __add__(self, other: Effort) -> Effort:
        return Effort(self.seconds + other.seconds, self.joules + other.joules)

    def __sub__(self, other: Effort) -> Effort:
        """Never less than nothing."""
        return Effort(max(self.seconds - other.seconds, 0.0), max(self.joules - other.joules, 0.0))


class Idle:
    """What passed outside the engine's phases; it only grows, until it is counted anew. Safe for threads."""

    def __init__(self, now: Callable[[], Effort]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self.restart()

    def restart(self) -> None:
        with self._lock:
            self._before = Effort()
            #: When it last began; None in a phase.
            self._since: Effort | None = self._now()

    def pause(self) -> None:
        with self._lock:
            self._before, self._since = self._so_far(), None

    def resume(self, spare_s: float = 0.0) -> None:
        """`spare_s` of the phase that ends were none of its work."""
        with self._lock:
            self._before += Effort(seconds=spare_s)
            self._since = self._now()

    def amount(self) -> Effort:
        with self._lock:
            return self._so_far()

    def _so_far(self) -> Effort:
        return self._before + (self._now() - self._since if self._since is not None else Effort())


class ActiveBatch:
    """One leased batch while it is worked on: what it has cost, how far it is, what became of its lease.

    `idle` pauses while the engine works on it; `urgent` is set when its first pass begins.
    """

    def __init__(
        self, lease: Lease, meter: Meter, now: Callable[[], Effort], idle: Idle, urgent: threading.Event
    ) -> None:
        self.lease = lease
        self.steps_done = 0
        #: Images that the farm has, and knows of.
        self.delivered = 0
        #: What is done before the engine works, such as `fetching sdxl 40 %`.
        self.doing = ""
        #: Set when nothing more is done for this batch; `reason` says why.
        self.over = threading.Event()
        self.reason = ""
        #: Whether it is over because the coordinator took the lease away.
        self.lost = False
        self._meter = meter
        self._now = now
        self._idle = idle
        self._urgent = urgent
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}
        #: By the engine's phases that are over.
        self._worked = Effort()
        #: Name and beginning of the engine's phase.
        self._running: tuple[str, Effort] | None = None
        self._cancelled: set[str] = set()

    @property
    def energy_method(self) -> Method:
        return self._meter.method

    @property
    def phase(self) -> str:
        """What the engine does for it now; empty for nothing."""
        with self._lock:
            return self._running[0] if self._running is not None else ""

    @property
    def worked(self) -> Effort:
        """Of the card for this batch until now."""
        with self._lock:
            return self._worked + self._since_begun()

    def note_delivered(self, images: int) -> None:
        with self._lock:
            self.delivered += images

    def begin(self, phase: str) -> None:
        """The engine works on `phase` from now on, until `end`."""
        with self._lock:
            if phase == "denoise" and phase not in self._seconds:
                # From now on a shot may be why the engine or the node dies.
                self._urgent.set()
            self._idle.pause()
            self._running = (phase, self._now())
            self._meter.work(True)

    def end(self, seconds: Mapping[str, float] | None = None) -> Effort:
        """The running phase, if any, is over; what it cost since it began.

        `seconds` by finer phases, where the engine measured them, are counted in its place.
        """
        with self._lock:
            self._meter.work(False)
            cost = self._since_begun()
            if self._running is not None:
                took = seconds or {self._running[0]: cost.seconds}
                for phase, phase_s in took.items():
                    self._seconds[phase] = self._seconds.get(phase, 0.0) + phase_s
                worked_s = sum(took.values())
                self._worked += Effort(worked_s, cost.joules)
                self._running = None
                self._idle.resume(max(cost.seconds - worked_s, 0.0))
        return cost

    def add(self, phase: str, seconds: float) -> None:
        """Work beside the engine: saving, uploading."""
        with self._lock:
            self._seconds[phase] = self._seconds.get(phase, 0.0) + seconds

    def spent(self) -> Spent:
        """What the engine's phases have cost so far, the running one included, and the work beside them."""
        with self._lock:
            seconds, running = dict(self._seconds), self._since_begun()
            if self._running is not None:
                phase = self._running[0]
                seconds[phase] = seconds.get(phase, 0.0) + running.seconds
            joules = self._worked.joules + running.joules
        return Spent(joules=joules, energy_method=self._meter.method, seconds=seconds)

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

    def _since_begun(self) -> Effort:
        return self._now() - self._running[1] if self._running is not None else Effort()


class CardReading(NamedTuple):
    """Of the card now; None where nothing tells."""

    watts: float | None
    temperature_c: float | None


class Progress:
    """The active batch, and the time and energy that passed without work.

    `held` tells what the engine holds.
    """

    def __init__(
        self, meter: Meter, held: Callable[[], Load | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._held = held
        self._meter = meter
        self._clock = clock
        self._idle = Idle(self._now)
        #: Set when the coordinator should hear of it at once.
        self.urgent = threading.Event()
        #: What is done without a batch, such as `measuring sdxl by fp16`.
        self.doing = ""
        self._batch: ActiveBatch | None = None

    @property
    def batch(self) -> ActiveBatch | None:
        return self._batch

    def joined(self) -> None:
        """A new incarnation begins, and counts its idle time from nothing."""
        self._idle.restart()

    def take(self, lease: Lease) -> ActiveBatch:
        self._batch = ActiveBatch(lease, self._meter, self._now, self._idle, self.urgent)
        return self._batch

    def leave(self) -> None:
        """The active batch is closed or lost."""
        self._batch = None

    def reading(self) -> CardReading:
        return CardReading(self._meter.watts(), self._meter.temperature_c())

    def heartbeat(self, incarnation: int) -> Heartbeat:
        batch, held, idle = self._batch, self._held(), self._idle.amount()
        watts, temperature_c = self.reading()
        return Heartbeat(
            incarnation=incarnation,
            batch_id=batch and batch.lease.batch_id,
            token=batch and batch.lease.token,
            spent=batch.spent() if batch else Spent(),
            steps_done=batch.steps_done if batch else 0,
            doing=batch.doing if batch else self.doing,
            loaded_model=held.model if held else None,
            loaded_loras=tuple(lora.name for lora in held.loras) if held else (),
            watts=watts,
            temperature_c=temperature_c,
            idle_s=idle.seconds,
            idle_joules=idle.joules,
        )

    def _now(self) -> Effort:
        return Effort(self._clock(), self._meter.joules())

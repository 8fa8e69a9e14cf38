"""Keep the processes of a farm running: start them in order, revive what dies, end all in reverse."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from common.errors import Unavailable
from coordinator.embedded.process import Child
from coordinator.embedded.state import ComponentState

_TICK_S = 0.1
#: A part that is not ready after this long is not going to be.
_READY_WITHIN_S = 180
#: Deaths before it was ever ready, after which a start is given up.
_FALSE_STARTS = 3
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
#: Ran this long: its next death counts as the first.
_STEADY_S = 60


@dataclass(slots=True)
class _Watched:
    child: Child
    state: Literal["starting", "ready", "waiting", "stopped"] = "stopped"
    restarts: int = 0
    deaths_in_a_row: int = 0
    was_ready: bool = False
    started_at: float = 0.0
    start_again_at: float = 0.0

    def view(self) -> ComponentState:
        component = self.child.component
        pid = self.child.pid if self.state in ("starting", "ready") else None
        return ComponentState(
            name=component.name, state=self.state, pid=pid, restarts=self.restarts, address=component.address
        )


@dataclass(slots=True)
class Supervisor:
    """Runs the stages of children until `stop` is set."""

    stages: tuple[tuple[Child, ...], ...]
    #: Called with all components whenever one changes.
    publish: Callable[[tuple[ComponentState, ...]], None]
    #: Seconds, monotonic.
    clock: Callable[[], float]
    stop: threading.Event
    _watched: tuple[tuple[_Watched, ...], ...] = field(init=False)
    #: The stage that is being ended.
    _stopping: tuple[_Watched, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        self._watched = tuple(tuple(_Watched(child) for child in stage) for stage in self.stages)

    def bring_up(self) -> None:
        """Start every stage once the one before is ready; returns early when `stop` is set.

        Raises Unavailable, naming the log, for a part that does not become ready.
        """
        for stage in self._watched:
            for watched in stage:
                self._start(watched)
            deadline = self.clock() + _READY_WITHIN_S
            while not self.stop.is_set() and any(not watched.was_ready for watched in stage):
                self._tick()
                for watched in stage:
                    self._give_up_on(watched, late=self.clock() > deadline)
                self.stop.wait(_TICK_S)

    def watch(self) -> None:
        """Revive what dies, until `stop` is set."""
        while not self.stop.wait(_TICK_S):
            self._tick()

    def shut_down(self) -> None:
        """End all, the last stage first; whatever does not end by itself is killed."""
        for stage in reversed(self._watched):
            self._stopping = stage
            began = self.clock()
            for watched in stage:
                watched.child.ask_to_stop()
            for watched in stage:
                watched.child.wait(began + watched.child.component.stop_within_s - self.clock())
                watched.state = "stopped"
            self._publish()

    def hurry(self) -> None:
        """Ask those again that do not end yet: a node does without its running pass then. From a signal."""
        for watched in self._stopping:
            watched.child.ask_to_stop()

    def _tick(self) -> None:
        now = self.clock()
        for watched in self._all():
            if watched.state == "waiting" and now >= watched.start_again_at:
                watched.restarts += 1
                self._start(watched)
            elif watched.state in ("starting", "ready") and watched.child.exit_status is not None:
                self._record_exit(watched, now)
            elif watched.state == "starting" and watched.child.component.is_ready():
                watched.state = "ready"
                watched.was_ready = True
                self._publish()

    def _start(self, watched: _Watched) -> None:
        watched.child.start()
        watched.state = "starting"
        watched.started_at = self.clock()
        self._publish()

    def _record_exit(self, watched: _Watched, now: float) -> None:
        watched.child.wait(0)
        steady = now - watched.started_at >= _STEADY_S
        watched.deaths_in_a_row = 1 if steady else watched.deaths_in_a_row + 1
        pause = min(_FIRST_PAUSE_S * 2 ** (watched.deaths_in_a_row - 1), _LONGEST_PAUSE_S)
        watched.start_again_at = now + pause
        watched.state = "waiting"
        self._publish()

    def _give_up_on(self, watched: _Watched, *, late: bool) -> None:
        name, log = watched.child.component.name, watched.child.log
        if watched.was_ready:
            return
        if watched.deaths_in_a_row >= _FALSE_STARTS:
            raise Unavailable(f"{name} exits right after starting ({_last_line(log)}); see {log}")
        if late:
            raise Unavailable(f"{name} did not respond within {_READY_WITHIN_S} s; see {log}")

    def _all(self) -> list[_Watched]:
        return [watched for stage in self._watched for watched in stage]

    def _publish(self) -> None:
        self.publish(tuple(watched.view() for watched in self._all()))


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")

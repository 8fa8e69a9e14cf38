"""Commands to the engine and their answers, watched: they end with their batch, or with a silent engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from gpu_node import protocol
from gpu_node.agent.engine_client import EngineClient
from gpu_node.errors import RenderError

#: Seconds between looks at the batch while the engine says nothing.
_LOOK_S = 0.2

#: What becomes of one shot of a pass.
Outcome = protocol.Image | protocol.Failed


class BatchOver(Exception):
    """Its lease was lost or it was given up; the engine was killed in the middle of it."""


class Task(Protocol):
    """What a session works for."""

    #: Set when nothing more is done for it; `reason` says why.
    over: threading.Event
    reason: str
    #: Of the running pass.
    steps_done: int


class EngineSession:
    """`on_outcome` hears of every shot, also while a later command runs."""

    def __init__(self, engine: EngineClient, active: Task, on_outcome: Callable[[Outcome], None]) -> None:
        self._engine = engine
        self._active = active
        self._on_outcome = on_outcome

    def load(self, command: protocol.Load, *, stall_s: float) -> None:
        """Start the engine where none runs; raises like `ask`.

        An engine that stalls or dies over a load met a `load_error`: no shot has begun.
        """
        self._engine.start()
        self._engine.held = None
        try:
            self.ask(command, stall_s=stall_s, limit_s=float("inf"))
        except RenderError as error:
            kind = "load_error" if error.kind in ("stalled", "engine_died") else error.kind
            message = f"{command.model} was not loaded: {error}"
            raise RenderError(kind, message, error.peak_bytes) from error
        self._engine.held = command

    def ask(
        self,
        command: protocol.Command,
        *,
        stall_s: float,
        limit_s: float,
        unwanted: Callable[[], bool] = lambda: False,
    ) -> protocol.Event:
        """The event that ends the command; once it is `unwanted`, the engine is told to end it early.

        Raises RenderError with the engine's own failure, `engine_died`, `stalled` after `stall_s` without
        a sign of life, or `hard_limit` after `limit_s`; the engine is then dead but in the first case.
        """
        self._send(command)
        start = time.monotonic()
        interrupted = False
        while True:
            event = self._next(stall_s)
            match event:
                case protocol.Completed() | protocol.Encoded() | protocol.Done():
                    return event
                case protocol.Failed(shot_id=None):
                    raise RenderError(event.kind, event.message, event.peak_bytes)
            if not interrupted and unwanted():
                interrupted = True
                self._send(protocol.Interrupt())
            if time.monotonic() - start > limit_s:
                self._engine.kill()
                raise RenderError(
                    "hard_limit", f"rendering exceeded the limit of {limit_s:.0f} s and was stopped"
                )

    def listen(self, until: Callable[[], bool], *, stall_s: float) -> None:
        """Hear outcomes until there are enough; raises like `ask`."""
        while not until():
            self._next(stall_s)

    def _send(self, command: protocol.Command) -> None:
        with self._deaths():
            self._engine.send(command)

    @contextmanager
    def _deaths(self) -> Iterator[None]:
        """An engine that dies after its batch was over was meant to."""
        try:
            yield
        except RenderError:
            if self._active.over.is_set():
                raise BatchOver(self._active.reason) from None
            raise

    def _next(self, stall_s: float) -> protocol.Event | None:
        if self._active.over.is_set():
            self._engine.kill()
            raise BatchOver(self._active.reason)
        with self._deaths():
            event = self._engine.event(_LOOK_S)
        match event:
            case protocol.Step():
                self._active.steps_done = event.done
            case protocol.Image():
                self._on_outcome(event)
            case protocol.Failed() if event.shot_id is not None:
                self._on_outcome(event)
            case None if self._engine.silent_s > stall_s:
                self._engine.kill()
                raise RenderError("stalled", f"the engine made no progress for {stall_s:.0f} s")
        return event

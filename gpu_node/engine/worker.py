"""What an engine does with its commands: one model held, texts encoded, passes rendered."""

from __future__ import annotations

import errno
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from PIL.Image import Image

from common.failures import failure
from common.shot import Shot
from common.units import format_gib
from gpu_node import protocol
from gpu_node.engine.encode import Saver
from gpu_node.engine.peak import PeakMeter
from gpu_node.engine.pipelines import LoadedModel, LoadedModelSlot
from gpu_node.engine.render import render_compiled, render_pass
from gpu_node.engine.upscaler import LoadedUpscaler
from gpu_node.errors import RenderError, is_device_lost, is_out_of_memory
from gpu_node.identity import Hashes


class EngineWorker:
    """Executes commands one by one on `device` (`cpu`, `cuda:0`); image files go to `spool`.

    A pass ends at its next step once `interrupted` is set.
    """

    def __init__(
        self,
        device: str,
        spool: Path,
        hashes: Hashes,
        emit: Callable[[protocol.Event], None],
        interrupted: threading.Event,
    ) -> None:
        self._peak = PeakMeter(device)
        self._emit = emit
        self._interrupted = interrupted
        self._slot = LoadedModelSlot(device, hashes)
        self._saver = Saver(spool, emit)
        #: Of the last pass: all that decides what it holds besides the model.
        self._shape: tuple[float, ...] = ()

    def open(self, unconfined: str = "") -> None:
        """Say that commands may come."""
        self._emit(protocol.Ready(unconfined=unconfined))

    def execute(self, command: protocol.Command) -> None:
        """Answer the command with events; whatever goes wrong is an event too."""
        try:
            match command:
                case protocol.Load():
                    self._load(command)
                case protocol.Encode():
                    self._encode(command)
                case protocol.Render():
                    self._render(command)
        except RenderError as error:
            self._emit(protocol.Failed(kind=error.kind, message=str(error)))
        except Exception as error:
            with suppress(OSError):  # the log's disk may be full
                traceback.print_exc()
            kind = _kind(error)
            peak = self._peak.measured() if kind == "out_of_memory" else None
            message = _sentence(error) if peak is None else _out_of_memory_message(error, peak)
            self._emit(protocol.Failed(kind=kind, message=message, peak_bytes=peak))

    def _load(self, command: protocol.Load) -> None:
        self._peak.forget()
        self._slot.hold(command)
        self._emit(protocol.Completed())

    def _encode(self, command: protocol.Encode) -> None:
        if command.threads is not None:
            torch.set_num_threads(command.threads)
        self._emit(self._held().texts.encode(command, lambda: self._emit(protocol.Alive())))

    def _render(self, command: protocol.Render) -> None:
        shots = [Shot.from_dict(one.spec) for one in command.shots]
        shape = len(shots), shots[0].width, shots[0].height, shots[0].guidance
        # What a larger pass left in torch's cache would pass for the need of this one.
        self._peak.forget(cached=shape != self._shape)
        self._shape = shape
        model = self._held()
        done = (render_compiled if command.compiled else render_pass)(model, shots, self._step)
        # A pass without the text encoders that later ones have beside them tells nothing of those, and a
        # compiled one nothing of others.
        tells = model.placement.holds_all and not command.compiled
        peak = self._peak.measured() if tells else None
        began = time.monotonic()
        for one, shot, rendered in zip(command.shots, shots, done.pictures, strict=True):
            picture = self._enlarged(rendered, model.upscaler)
            if isinstance(picture, RenderError):
                self._emit(protocol.Failed(kind=picture.kind, message=str(picture), shot_id=one.id))
            else:
                self._saver.save(one.id, shot, picture)
        upscaler = model.upscaler
        self._emit(
            protocol.Done(
                denoise_s=done.denoise_s,
                decode_s=done.decode_s + (time.monotonic() - began if upscaler else 0.0),
                tile=upscaler and upscaler.tile,
                peak_bytes=peak,
                compiled=done.compiled,
                compile_s=done.compile_s,
                compile_problem=done.compile_problem,
            )
        )

    def _enlarged(self, picture: Image | RenderError, upscaler: LoadedUpscaler | None) -> Image | RenderError:
        if upscaler is None or isinstance(picture, RenderError):
            return picture
        return upscaler.enlarged(picture, self._tile)

    def _tile(self) -> None:
        """One tile is enlarged."""
        if self._interrupted.is_set():
            raise RenderError("cancelled", "interrupted while upscaling")
        self._emit(protocol.Alive())

    def _step(self, done: int, total: int) -> None:
        if self._interrupted.is_set():
            raise RenderError("cancelled", f"interrupted after step {done} of {total}")
        self._emit(protocol.Step(done=done))

    def _held(self) -> LoadedModel:
        if self._slot.model is None:
            raise RenderError("load_error", "no model is loaded")
        return self._slot.model


def _kind(error: Exception) -> str:
    if is_out_of_memory(error):
        return "out_of_memory"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk_full"
    return "device_lost" if is_device_lost(error) else "render_error"


def _out_of_memory_message(error: Exception, peak_bytes: int) -> str:
    return f"{failure('out_of_memory').sentence} at {format_gib(peak_bytes)} ({_sentence(error)})"


def _sentence(error: Exception) -> str:
    """The first line of an error, with its type for those who look it up."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

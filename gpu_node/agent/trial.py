"""One trial: the engine renders an image in two steps by a recipe, and the time of a whole one follows.

Whole images can be rendered the same way.
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple, Protocol

from common.catalog import Model, Recipe
from common.fit import plain_shot
from common.shot import Shot
from gpu_node import protocol
from gpu_node.agent.engine_client import EngineClient
from gpu_node.agent.engine_commands import (
    BatchShot,
    encode_command,
    load_command,
    render_command,
    texts_of_batch,
)
from gpu_node.agent.engine_session import BatchOver, EngineSession, Outcome
from gpu_node.errors import RenderError
from gpu_node.library import Library
from gpu_node.measured import Measured

#: More would only refine it.
_STEPS = 2
#: Seconds of a round below which it is repeated: the first use of kernels would be most of it.
_AGAIN_S = 5.0
#: Each is encoded anew, for its time to be known.
PROMPTS = ("a lighthouse on a cliff above the sea", "a red bicycle in front of a bakery")
#: A picture after two steps may show nothing.
_HARMLESS = "flat_image"


class ModelRecipe(NamedTuple):
    """A recipe to be measured."""

    model: Model
    recipe: Recipe


class StallTimes(Protocol):
    """Seconds without a sign of life after which an engine counts as stuck."""

    @property
    def stall_load_s(self) -> float: ...
    @property
    def stall_render_s(self) -> float: ...


class TrialImage(NamedTuple):
    """How one image was rendered, in seconds and bytes; loading is not counted."""

    encode_s: float
    denoise_s: float
    decode_s: float
    peak_bytes: int | None
    outcome: Outcome

    @property
    def image_s(self) -> float:
        return self.encode_s + self.denoise_s + self.decode_s


class Trial:
    """`run` once, or `load` and then `render`.

    `unwanted` ends it before its next step; `stop` ends it at once, with the engine.
    """

    def __init__(self, of: ModelRecipe, engine: EngineClient, library: Library, times: StallTimes) -> None:
        self.of = of
        #: What the engine's session goes by.
        self.over = threading.Event()
        self.reason = ""
        self.steps_done = 0
        self.unwanted = False
        #: Whether the engine loads the model now.
        self.loading = False
        #: Seconds of computing so far.
        self.took_s = 0.0
        self._engine = engine
        self._library = library
        self._times = times
        self._outcomes: list[Outcome] = []
        self._session = EngineSession(engine, self, self._outcomes.append)

    def stop(self, reason: str) -> None:
        self.reason = reason
        self.over.set()

    def run(self, limit_s: float) -> Measured:
        """Compute for `limit_s` at the most. Raises BatchOver once it is unwanted, or RenderError."""
        model = self.of.model
        shot = plain_shot(model)._replace(steps=_STEPS)
        load = self.load(shot)
        for prompt in PROMPTS:
            before_s = self.took_s
            image = self.render(load, shot._replace(prompt=prompt), limit_s)
            if isinstance(image.outcome, protocol.Failed) and image.outcome.kind != _HARMLESS:
                raise RenderError(image.outcome.kind, image.outcome.message)
            if self.took_s - before_s > _AGAIN_S:
                break
        whole = image._replace(denoise_s=image.denoise_s / _STEPS * model.steps)
        return Measured(image_s=whole.image_s, peak_bytes=image.peak_bytes)

    def load(self, shot: Shot) -> protocol.Load:
        """Let the engine hold what a shot needs. Raises as `run` does."""
        load = load_command(self.of.model.name, self.of.recipe.name, shot, self._library)
        self.loading = True
        self._session.load(load, stall_s=self._times.stall_load_s)
        self.loading = False
        return load

    def render(self, load: protocol.Load, shot: Shot, limit_s: float) -> TrialImage:
        """One prompt encoded, one image rendered; its file is in the spool. Raises as `run` does."""
        one = BatchShot(shot.id, shot)
        texts = texts_of_batch([one], load)
        encoded, encode_s = self._ask(encode_command(texts), limit_s, self._times.stall_load_s)
        assert isinstance(encoded, protocol.Encoded)
        self._engine.texts = frozenset(texts)
        done, _ = self._ask(render_command([one]), limit_s, self._times.stall_render_s)
        assert isinstance(done, protocol.Done)
        self._session.listen(lambda: bool(self._outcomes), stall_s=self._times.stall_render_s)
        seconds = encode_s - encoded.load_s, done.denoise_s, done.decode_s
        return TrialImage(*seconds, done.peak_bytes, self._outcomes.pop())

    def _ask(
        self, command: protocol.Encode | protocol.Render, limit_s: float, stall_s: float
    ) -> tuple[protocol.Event, float]:
        """The answer, and the seconds until it."""
        if self.unwanted:
            raise BatchOver(self.reason)
        start = time.monotonic()
        try:
            answer = self._session.ask(
                command,
                stall_s=stall_s,
                limit_s=max(limit_s - self.took_s, 0.0),
                # Only passes end early.
                unwanted=lambda: self.unwanted and isinstance(command, protocol.Render),
            )
        finally:
            self.took_s += time.monotonic() - start
        return answer, time.monotonic() - start

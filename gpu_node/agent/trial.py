"""One trial: the engine renders an image in two steps by a recipe, and the time of a whole one follows."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from common.catalog import Model, Recipe
from common.fit import plain_shot
from common.messages import Joined
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
_PROMPTS = ("a lighthouse on a cliff above the sea", "a red bicycle in front of a bakery")
#: A picture after two steps may show nothing.
_HARMLESS = "flat_image"


class ModelRecipe(NamedTuple):
    """A recipe to be measured."""

    model: Model
    recipe: Recipe


class Trial:
    """`run` once. `unwanted` ends it before its next step; `stop` ends it at once, with the engine."""

    def __init__(self, of: ModelRecipe, engine: EngineClient, library: Library, joined: Joined) -> None:
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
        self._joined = joined
        self._outcomes: list[Outcome] = []
        self._session = EngineSession(engine, self, self._outcomes.append)

    def stop(self, reason: str) -> None:
        self.reason = reason
        self.over.set()

    def run(self, limit_s: float) -> Measured:
        """Compute for `limit_s` at the most. Raises BatchOver once it is unwanted, or RenderError."""
        model = self.of.model
        shot = plain_shot(model)._replace(steps=_STEPS)
        load = load_command(model.name, self.of.recipe.name, shot, self._library)
        self.loading = True
        self._session.load(load, stall_s=self._joined.stall_load_s)
        self.loading = False
        for prompt in _PROMPTS:
            before_s = self.took_s
            measured = self._round(load, shot._replace(prompt=prompt), limit_s)
            if self.took_s - before_s > _AGAIN_S:
                break
        return measured

    def _round(self, load: protocol.Load, shot: Shot, limit_s: float) -> Measured:
        """One prompt encoded, two steps, one image decoded."""
        one = BatchShot(shot.id, shot)
        texts = texts_of_batch([one], load)
        encoded, encode_s = self._ask(encode_command(texts), limit_s, self._joined.stall_load_s)
        assert isinstance(encoded, protocol.Encoded)
        self._engine.texts = frozenset(texts)
        encode_s -= encoded.load_s
        done, _ = self._ask(render_command([one]), limit_s, self._joined.stall_render_s)
        assert isinstance(done, protocol.Done)
        self._session.listen(lambda: bool(self._outcomes), stall_s=self._joined.stall_render_s)
        outcome = self._outcomes.pop()
        if isinstance(outcome, protocol.Failed) and outcome.kind != _HARMLESS:
            raise RenderError(outcome.kind, outcome.message)
        image_s = encode_s + done.denoise_s / _STEPS * self.of.model.steps + done.decode_s
        return Measured(image_s=image_s, peak_bytes=done.peak_bytes)

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

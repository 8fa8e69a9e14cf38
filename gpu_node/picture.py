"""One picture without a farm, by the engine that nodes use: the process of `farm render`."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace

from common.catalog import Model, load_catalog
from common.errors import FarmError, FitsNothing, Invalid, NotFound, Unavailable
from common.fit import Misfit, fit
from common.nodes import Card
from common.rendering import Rendered, RenderOrder, RenderProgress, RenderRefusal
from common.shot import Shot
from gpu_node import protocol
from gpu_node.agent.engine_client import EngineClient
from gpu_node.agent.engine_commands import (
    BatchShot,
    encode_command,
    engine_inversions,
    load_command,
    render_command,
    texts_of_batch,
    uses_of,
)
from gpu_node.agent.engine_session import EngineSession, Outcome
from gpu_node.assemble import owned
from gpu_node.cache import ModelCache
from gpu_node.errors import RenderError
from gpu_node.identity import Hashes
from gpu_node.library import Library
from gpu_node.probe import CpuProbe, HostProbe, NvidiaProbe, Probe

Tell = Callable[[RenderProgress | Rendered | RenderRefusal], None]

#: What mends a failure, by its kind.
_REMEDIES = {
    "out_of_memory": "choose a smaller --size, or end other programs that use this memory",
    "device_lost": "run `farm-node doctor`",
}


def main() -> None:
    """Read the order, answer it, end."""
    order = RenderOrder.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    tell(answer(order))


def tell(line: RenderProgress | Rendered | RenderRefusal) -> None:
    sys.stdout.write(line.model_dump_json() + "\n")
    sys.stdout.flush()


def answer(order: RenderOrder, tell: Tell = tell) -> Rendered | RenderRefusal:
    """The picture, or why there is none; nothing is raised but what is a defect."""
    try:
        order.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with owned(order.home, f"another `farm render` is running in {order.home}; wait until it ends"):
            return _Render(order, tell).run()
    except FarmError as error:
        return RenderRefusal(message=str(error), exit_code=error.exit_code)
    except RenderError as error:
        remedy = _REMEDIES.get(error.kind)
        message = f"{error}; {remedy}" if remedy else str(error)
        return RenderRefusal(message=message, exit_code=FarmError.exit_code)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return RenderRefusal(message=f"{place}{error.strerror or error}", exit_code=FarmError.exit_code)


@dataclass(slots=True)
class _Work:
    """What the session of the engine goes by; nobody takes this work away."""

    on_step: Callable[[int], None]
    over: threading.Event = field(default_factory=threading.Event)
    reason: str = ""

    @property
    def steps_done(self) -> int:
        return 0

    @steps_done.setter
    def steps_done(self, done: int) -> None:
        self.on_step(done)


class _Render:
    """Raises FarmError or RenderError with a sentence."""

    def __init__(self, order: RenderOrder, tell: Tell) -> None:
        self._order = order
        self._tell = tell
        self._shot = Shot.from_dict(order.shot)
        self._outcomes: list[Outcome] = []
        self._hashes = Hashes(order.home / "hashes.json")
        self._cache = ModelCache(order.cache, 0)
        self._library = Library(
            load_catalog(order.catalogs), order.models, self._hashes, self._cache, own_catalog=True
        )

    def run(self) -> Rendered:
        loras = [use.name for use in self._shot.loras]
        with closing(self._cache):
            uses = uses_of([BatchShot(self._shot.id, self._shot)])
            self._cache.pin(self._library.cached(self._shot.model, loras, uses))
            return self._run()

    def _run(self) -> Rendered:
        probe, why = _find_probe(self._order)
        card = probe.card()
        model = self._model(card)
        found = fit(self._shot, model, card)
        if isinstance(found, Misfit):
            reason = found.reason if model.name in found.reason else f"{model.name} {found.reason}"
            raise FitsNothing("; ".join(filter(None, (reason, why))))
        load = load_command(model.name, found.recipe.name, self._shot, self._library)
        engine = EngineClient(
            device=probe.device,
            threads=probe.threads,
            home=self._order.home,
            pipelines=[load.pipeline],
            environment=probe.environment,
            # Whether a card computes in a confined process is tried for seconds, by nodes alone.
            confines=probe.device == "cpu",
        )
        try:
            return self._rendered(engine, load, card)
        finally:
            engine.stop()

    def _model(self, card: Card) -> Model:
        """The model with the recipes that can be followed with the files that are here."""
        name = self._shot.model
        self._doing(f"checking the files of {name}")
        holding = self._library.model(name, card)
        self._hashes.save()
        if holding is None:
            raise NotFound(f"the files of {name} are not on this machine; run `farm models add {name}`")
        for use in self._shot.loras:
            if self._library.lora_file(use.name) is None:
                remedy = f"run `farm models add FILE --name {use.name}`"
                raise NotFound(f"the file of the LoRA {use.name} is not on this machine; {remedy}")
        for used in uses_of([BatchShot(self._shot.id, self._shot)]):
            if self._library.used_file(used) is None:
                remedy = f"run `farm models add FILE --name {used.name}`"
                raise NotFound(f"the file of {used.name} is not on this machine; {remedy}")
        if holding.problem:
            raise Invalid(holding.problem)
        model = self._library.catalog.models[name]
        usable = tuple(recipe for recipe in model.recipes if recipe.name not in holding.missing_recipes)
        return replace(model, recipes=usable)

    def _rendered(self, engine: EngineClient, load: protocol.Load, card: Card) -> Rendered:
        timing, name = self._order.timing, self._shot.model
        one = BatchShot(self._shot.id, self._shot)
        work = _Work(lambda done: self._doing(f"rendering with {name}", done))
        session = EngineSession(engine, work, self._outcomes.append)
        began = time.monotonic()
        self._doing(f"loading {name} by recipe {load.recipe}")
        session.load(load, stall_s=timing.stall_load_s)
        loaded = time.monotonic()
        self._doing("encoding the prompt")
        stall_s, limit_s = timing.stall_load_s, timing.hard_limit_s
        texts = texts_of_batch([one], load)
        command = encode_command(texts, engine_inversions([one], self._library))
        session.ask(command, stall_s=stall_s, limit_s=2 * limit_s)
        self._doing(f"rendering with {name}", 0)
        session.ask(render_command([one]), stall_s=timing.stall_render_s, limit_s=limit_s)
        self._doing("saving")
        session.listen(lambda: bool(self._outcomes), stall_s=timing.stall_render_s)
        (outcome,) = self._outcomes
        if isinstance(outcome, protocol.Failed):
            raise RenderError(outcome.kind, outcome.message)
        shutil.move(outcome.file_in(engine.spool), self._order.file)
        return Rendered(
            card=card.name,
            recipe=load.recipe,
            load_s=loaded - began,
            render_s=time.monotonic() - loaded,
        )

    def _doing(self, doing: str, done: int | None = None) -> None:
        total = 0 if done is None else self._shot.steps
        self._tell(RenderProgress(doing=doing, done=done or 0, total=total))


def _find_probe(order: RenderOrder) -> tuple[Probe, str]:
    """What to render on; where nobody named a card and there is none, the CPU, and why."""
    if order.card is not None:
        return CpuProbe(order.card), ""
    try:
        return NvidiaProbe(order.gpu or 0), ""
    except Unavailable as error:
        if order.gpu is not None:
            raise
        return HostProbe(), str(error)


def _end_with_parent() -> None:
    """End once stdin closes: nobody is left who wants the picture. The engine ends with this process."""
    # By its number: a thread that waits in sys.stdin would keep the process from ending.
    while os.read(0, 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()

"""Trials: while a node has nothing to do, it measures how fast the recipes of its models are.

Work never waits for them: a lease ends the trial that runs, and what the engine does for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from common.errors import FarmError
from common.fit import fitting, plain_shot
from common.messages import Joined, Lease, Measurements, RecipePace
from common.nodes import Card
from common.units import format_gib, format_seconds, format_size
from common.work import work_of
from gpu_node.agent.batch import NodeContext
from gpu_node.agent.engine_session import BatchOver
from gpu_node.agent.progress import Progress
from gpu_node.agent.trial import ModelRecipe, Trial
from gpu_node.errors import RenderError
from gpu_node.measured import Measured, MeasuredRecipes

log = logging.getLogger(__name__)

#: Seconds without work before a node begins to measure.
_QUIET_S = 3.0
#: Seconds that a lease waits for the next step of a trial before the engine is killed.
_GRACE_S = 5.0
#: As many as one call may carry.
_MOST = 256


class Trials:
    """Measures in `budget_s` seconds of computing at the most; loading is not counted. Thread-safe."""

    def __init__(
        self, context: NodeContext, progress: Progress, card: Card, known: MeasuredRecipes, budget_s: float
    ) -> None:
        self._context = context
        self._progress = progress
        self._card = card
        #: What was measured before, and since.
        self.known = known
        self._budget_s = self._left_s = budget_s
        self._changed = threading.Condition()
        self._working = False
        self._quiet_since = time.monotonic()
        #: Whether there was nothing to measure since the last batch.
        self._is_done = False
        self._running: Trial | None = None

    @contextmanager
    def during(self, joined: Joined) -> Iterator[None]:
        """Tell the farm what is known, and measure the rest in quiet moments of this incarnation."""
        over = threading.Event()
        self._quiet_since, self._is_done = time.monotonic(), False
        threading.Thread(target=self._run, args=(joined, over), name="trials", daemon=True).start()
        try:
            yield
        finally:
            with self._changed:
                over.set()
                if self._running is not None:
                    self._running.stop("this incarnation is over")
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._running is None)

    @contextmanager
    def set_aside(self, lease: Lease) -> Iterator[None]:
        """Leave the engine to a batch: a trial that runs is ended first.

        Where it loads what the batch needs, it finishes that.
        """
        with self._changed:
            self._working = True
            if self._running is not None:
                self._end(self._running, lease)
        try:
            yield
        finally:
            with self._changed:
                self._working, self._is_done = False, False
                self._quiet_since = time.monotonic()
                self._changed.notify_all()

    def _end(self, trial: Trial, lease: Lease) -> None:
        """With the condition held, wait until the trial is over."""
        trial.unwanted = True
        is_of_use = (trial.of.model.name, trial.of.recipe.name) == (lease.model, lease.recipe)
        if not (is_of_use and trial.loading):
            self._changed.wait_for(lambda: self._running is None, _GRACE_S)
            trial.stop("there is work")
        self._changed.wait_for(lambda: self._running is None)

    def _run(self, joined: Joined, over: threading.Event) -> None:
        try:
            self._tell(joined, self._candidates())
            while self._is_quiet(over):
                due = self._due()
                if due is None:
                    self._is_done = True
                elif self._measure(due, joined, over):
                    self._tell(joined, [due])
        except Exception as error:  # whatever the trouble, measuring never ends a node
            log.warning("recipes are not measured: %s", error)

    def _due(self) -> ModelRecipe | None:
        """What to measure next; None where there is nothing, or no time is left."""
        if self._left_s <= 0 or self._context.engine.suspended:
            return None
        return next((one for one in self._candidates() if self.known.find(*one) is None), None)

    def _is_quiet(self, over: threading.Event) -> bool:
        """Wait until the node has had nothing to do for a while; False once it is `over`."""
        with self._changed:
            while not over.is_set():
                rest_s = self._quiet_since + _QUIET_S - time.monotonic()
                idle = not self._working and not self._is_done
                if idle and rest_s <= 0:
                    return True
                self._changed.wait(rest_s if idle else None)
        return False

    def _candidates(self) -> list[ModelRecipe]:
        """Recipes that fit, of models whose files are here; those first that have an alternative."""
        offer, library = self._context.offers.offer(), self._context.library
        found: list[list[ModelRecipe]] = []
        for name in offer.models:
            model = library.catalog.models.get(name)
            if model is None or name in offer.fetches:
                continue
            missing = offer.missing_recipes.get(name, ())
            recipes = [fit.recipe for fit in fitting(plain_shot(model), model, self._card)]
            here = [
                one for one in recipes if one.name not in missing and not library.needs(name, one.name, ())
            ]
            found.append([ModelRecipe(model, recipe) for recipe in here])
        return [one for some in sorted(found, key=lambda some: len(some) < 2) for one in some]

    def _measure(self, due: ModelRecipe, joined: Joined, over: threading.Event) -> bool:
        """Whether it is known now: measured, or not to be measured."""
        context = self._context
        trial = Trial(due, context.engine, context.library, joined)
        with self._changed:
            if self._working or over.is_set():
                return False
            self._running = trial
        self._progress.doing = f"measuring {due.model.name} by {due.recipe.name}"
        try:
            measured = self._tried(trial)
        finally:
            self._progress.doing = ""
            context.engine.clear_spool()
            with self._changed:
                self._running = None
                self._changed.notify_all()
        if measured is not None:
            self.known.note(*due, measured)
            _log(due, measured)
        return measured is not None

    def _tried(self, trial: Trial) -> Measured | None:
        """What came of it; None where it was ended for something else."""
        engine, limit_s = self._context.engine, self._left_s
        try:
            return trial.run(limit_s)
        except BatchOver:
            return None
        except RenderError as error:
            if trial.unwanted or trial.over.is_set() or engine.suspended:
                return None
            # The next command gets an engine that has nothing to do with this failure.
            with suppress(RenderError):
                engine.kill()
            if error.kind == "hard_limit" and limit_s < self._budget_s:
                return None
            return Measured(problem=str(error), lasts=error.kind == "hard_limit")
        finally:
            self._left_s -= trial.took_s

    def _tell(self, joined: Joined, candidates: Sequence[ModelRecipe]) -> None:
        """Tell the farm what is known of these; one that does not hear it plans as before."""
        paces = tuple(
            RecipePace(
                model=model.name,
                recipe=recipe.name,
                seconds=known.image_s / work_of(plain_shot(model), model).amount,
                peak_bytes=known.peak_bytes,
            )
            for model, recipe in candidates
            if (known := self.known.find(model, recipe)) and known.image_s
        )
        if paces:
            told = Measurements(incarnation=joined.incarnation, paces=paces[:_MOST])
            try:
                self._context.coordinator.measure(joined.node_id, told)
            except FarmError as error:
                log.warning("the farm does not know what this node measured: %s", error)


def _log(of: ModelRecipe, measured: Measured) -> None:
    model, recipe = of
    if measured.image_s is None:
        log.warning("%s was not measured by %s: %s", model.name, recipe.name, measured.problem)
        return
    peak = f", peak {format_gib(measured.peak_bytes)}" if measured.peak_bytes else ""
    took, size = format_seconds(measured.image_s), format_size(*model.size)
    log.info("measured %s by %s: %s an image of %s%s", model.name, recipe.name, took, size, peak)

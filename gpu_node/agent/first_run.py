"""The first run of a node that was invited: what its owner sees before it joins.

The card renders images whose looks are known, the smallest model of the farm arrives, two test images are
rendered with it, and the owner hears how many the card would render. The farm counts on no card before that:
it would wait for one that fetches for an hour, and refuse the images of one that computes wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field

from common.catalog import Model
from common.errors import Unavailable
from common.fit import Fit, fit, fitting, plain_shot
from common.likeness import Likeness
from common.messages import Holdings
from common.nodes import Card
from common.settings import Timing
from common.shot import Shot
from common.units import SECONDS_PER_HOUR, counted, format_seconds, format_size
from gpu_node import protocol
from gpu_node.agent.batch import NodeContext
from gpu_node.agent.canaries import Canaries, Canary, shipped_canaries
from gpu_node.agent.retry import retry_until
from gpu_node.agent.trial import PROMPTS, ModelRecipe, Trial, TrialImage
from gpu_node.errors import RenderError
from gpu_node.library import Library
from gpu_node.measured import Measured, MeasuredRecipes
from gpu_node.policy import PauseReason

#: Failures of an engine whose picture shows nothing.
_EMPTY = ("flat_image", "not_a_number")
#: Seconds between looks whether the owner needs the card.
_LOOK_S = 1.0
#: What is arriving, and its bytes; what it yields hears of each part.
Arriving = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, slots=True)
class FirstRun:
    """`run` once, before the node joins."""

    context: NodeContext
    #: What the node measured, and where it is kept.
    known: MeasuredRecipes
    arriving: Arriving
    #: Tells the owner one sentence.
    say: Callable[[str], None]
    #: Why the owner wants the card now, if so.
    wanted: Callable[[], PauseReason | None] = lambda: None
    timing: Timing = field(default_factory=Timing)
    canaries: Canaries = field(default_factory=shipped_canaries)

    def run(self) -> None:
        """Say what the card is worth, unless that was measured before.

        Raises Unavailable if the card renders known images wrongly, and FarmError as the farm refuses the
        node. Other troubles are said: the node can join all the same, and work shows more.
        """
        offer, card = self.context.offers.offer(), self.context.share.card
        found = smallest(offer, self.context.library, card)
        if found is None or self.known.find(*found) is not None:
            return
        try:
            known = self._canary_model(offer, card)
            images = [] if known is None else self._check(known)
            if known != found:
                self._fetch(found)
                images = self._tested(found)
            self._tell(found, images)
        except RenderError as error:
            self.say(f"{found.model.name} was not tried: {error}; the node joins all the same")
        finally:
            self.context.engine.clear_spool()

    def _canary_model(self, offer: Holdings, card: Card) -> ModelRecipe | None:
        model = self.canaries.model_in(self.context.library.catalog)
        return None if model is None or model.name not in offer.models else _followed(model, offer, card)

    def _check(self, of: ModelRecipe) -> list[TrialImage]:
        """The canaries, rendered. Raises Unavailable if one looks otherwise."""
        canaries = self.canaries.canaries
        images = self._rendered(of, [one.shot(of.model) for one in canaries])
        looks = [self._compare(*pair) for pair in zip(canaries, images, strict=True)]
        wrong = looks.count(Likeness.UNLIKE)
        if wrong:
            raise Unavailable(
                f"this card renders {wrong} of {counted(len(looks), 'known image')} wrongly, and the farm "
                "would refuse its work: end overclocking, update its driver, and start the node again"
            )
        said = "as it should" if set(looks) == {Likeness.ALIKE} else "nearly as other cards do"
        self.say(f"this card renders {counted(len(looks), 'known image')} {said}")
        return images

    def _compare(self, canary: Canary, image: TrialImage) -> Likeness:
        outcome = image.outcome
        if isinstance(outcome, protocol.Failed):
            if outcome.kind not in _EMPTY:
                raise RenderError(outcome.kind, outcome.message)
            return Likeness.UNLIKE
        try:
            return canary.compare(outcome.file_in(self.context.engine.spool))
        except OSError:  # no image
            return Likeness.UNLIKE

    def _fetch(self, of: ModelRecipe) -> None:
        """Have the files that the recipe needs here."""
        context = self.context
        needs = context.library.needs(of.model.name, of.recipe.name, ())
        if not needs:
            return
        addresses = retry_until(context.stopping, context.coordinator.addresses)
        assert addresses is not None, "nobody stops a node that has not joined"
        context.announced.hear(addresses.store, lambda: context.coordinator.token)
        for need in needs:
            with self.arriving(f"fetching {need.name}", need.size) as arrived:
                context.prefetch.fetch(need, stall_s=self.timing.stall_load_s, on_bytes=arrived)

    def _tested(self, of: ModelRecipe) -> list[TrialImage]:
        shot = plain_shot(of.model)
        images = self._rendered(of, [shot._replace(prompt=prompt) for prompt in PROMPTS])
        for image in images:
            if isinstance(image.outcome, protocol.Failed):
                raise RenderError(image.outcome.kind, image.outcome.message)
        return images

    def _rendered(self, of: ModelRecipe, shots: Sequence[Shot]) -> list[TrialImage]:
        """As soon as the owner does not need the card. Raises RenderError."""
        self._await_owner()
        engine = self.context.engine
        trial = Trial(of, engine, self.context.library, self.timing)
        limit_s = len(shots) * self.timing.hard_limit_s
        try:
            load = trial.load(shots[0])
            return [trial.render(load, shot, limit_s) for shot in shots]
        except RenderError:
            # Work gets an engine that has nothing to do with this failure.
            with suppress(RenderError):
                engine.kill()
            raise

    def _await_owner(self) -> None:
        reason = self.wanted()
        if reason is not None:
            self.say(f"test images wait, since the card is yours now: {reason.shown}")
        while reason is not None and not self.context.stopping.wait(_LOOK_S):
            reason = self.wanted()

    def _tell(self, of: ModelRecipe, images: Sequence[TrialImage]) -> None:
        # Whatever is done at a first use is in the first one.
        last = images[-1]
        self.known.note(*of, Measured(image_s=last.image_s, peak_bytes=last.peak_bytes))
        self.say(worth(of.model, [image.image_s for image in images]))


def smallest(offer: Holdings, library: Library, card: Card) -> ModelRecipe | None:
    """The offered model that takes the least room, by the recipe that the card follows; None if none fits.

    It is one that the farm has stored, as long as there is one: only these are worked with.
    """
    models = (library.catalog.models[name] for name in offer.models)
    found = [one for model in models if (one := _followed(model, offer, card))]
    return min(found, key=lambda one: _room(one, library.files), default=None)


def _followed(model: Model, offer: Holdings, card: Card) -> ModelRecipe | None:
    """The model by the first of its recipes that fits and has its files; None if the card cannot have it."""
    shot, missing = plain_shot(model), offer.missing_recipes.get(model.name, ())
    if not isinstance(fit(shot, model, card), Fit):
        return None
    recipes = [one.recipe for one in fitting(shot, model, card) if one.recipe.name not in missing]
    return ModelRecipe(model, recipes[0]) if recipes else None


def _room(of: ModelRecipe, files: Mapping[str, int]) -> tuple[bool, int]:
    """Whether the farm has not stored it; bytes of its files, or of as many weights in 16 bits."""
    model, recipe = of
    stored = model.identity in files
    size = files[model.identity] if stored and model.identity else 2 * sum(model.components.values())
    gguf = model.gguf.get(recipe.quantisation) if recipe.reads_gguf else None
    return not stored, size + (files.get(gguf.identity, 0) if gguf else 0)


def worth(model: Model, seconds: Sequence[float]) -> str:
    """What test images of a model that took so many seconds say about a card."""
    took = " and ".join(f"{one:.2g} s" if one < 1 else format_seconds(one) for one in seconds)
    hourly = float(f"{SECONDS_PER_HOUR / seconds[-1]:.2g}")
    return (
        f"{counted(len(seconds), 'test image')} of {model.name}, {format_size(*model.size)}, took {took}: "
        f"this card would render about {hourly:,.0f} an hour"
    )

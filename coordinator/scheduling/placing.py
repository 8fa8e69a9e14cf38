"""Placing: how a card takes the shots of one work key, and how fast, by catalog, fit and estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple, Protocol

from common.catalog import Catalog, Model, Recipe
from common.catalog.consent import revoked
from common.chips import chip_of
from common.fit import Misfit, Seen, encoding_of, fit, plain_shot, without_encoders
from common.nodes import Card
from common.shot import Shot
from coordinator.estimate import load_seconds, pace, plain_pace, shape, text_seconds


class TextEncoder(NamedTuple):
    """How a card encodes texts for others."""

    #: Text encoder to the dtype of its weights.
    dtypes: dict[str, str]
    #: Estimated seconds for a text.
    text_s: float


class Placement(NamedTuple):
    """How a card takes the shots of one work key."""

    #: Name of the catalog recipe.
    recipe: str
    #: Images of one pass at the most.
    pass_size: int
    #: Seconds for a megapixel-forward as such cards measured them, else as estimated; None: nothing tells.
    pace_s: float | None = None
    #: The same for loading the model.
    load_s: float = 0.0
    #: Seconds before the first image of each batch, even if the model is loaded.
    start_s: float = 0.0
    #: Energy of a megapixel-forward in joules, estimated for such cards; None: nothing tells.
    joules: float | None = None
    #: How long a megapixel-forward takes here by the estimate, if one of a plain image of the model takes 1.
    shape: float = 1.0
    #: Whether it has room for the text encoders; else it takes embeddings from the store.
    encodes: bool = True
    #: How it encodes texts that nodes share; None: it does not.
    encoder: TextEncoder | None = None


class Unencoded(str):
    """Why a card cannot take work that it can take once its texts are embedded."""

    #: By recipe, the dtypes of the text encoders with which they must be.
    recipes: Mapping[str, Mapping[str, str]]

    def __new__(cls, reason: str, recipes: Mapping[str, Mapping[str, str]]) -> Unencoded:
        found = super().__new__(cls, reason)
        found.recipes = recipes
        return found


class Placer(Protocol):
    """Where a shot fits: the catalog and `common.fit`, as the scheduler sees them."""

    def __call__(self, shot: Shot, card: Card, seen: Seen) -> Placement | str:
        """How `card` takes `shot`, after what was `seen` on its type; or the sentence that says why not."""


def placing(catalog: Catalog, *, shared: bool = True) -> Placer:
    """How a card takes a shot by this catalog; `shared`: nodes share embeddings."""

    @cache
    def usual_pace(model: str, card: Card) -> float | None:
        return plain_pace(catalog.models[model], card)

    def place(shot: Shot, card: Card, seen: Seen) -> Placement | str:
        model = catalog.models.get(shot.model)
        if model is None:
            return f"the catalog no longer has model {shot.model}"
        for use in shot.loras:
            if (lora := catalog.loras.get(use.name)) and (why := revoked(lora)):
                return why
        answer = fit(shot, model, card, seen)
        if isinstance(answer, Misfit):
            fits = without_encoders(shot, model, card, seen) if shared and seen.embedded is None else ()
            return _unencoded(answer.reason, [found.recipe for found in fits])
        estimated_s = pace(shot, model, answer, card)
        # Measured with a plain image.
        trial_s = seen.paces.get(answer.recipe.name)
        if trial_s is not None:
            trial_s *= shape(estimated_s, pace(plain_shot(model), model, answer, card))
        # A CPU that simulates a card does not draw its power.
        watts = None if card.backend == "cpu" else chip_of(card).watts
        return Placement(
            answer.recipe.name,
            answer.pass_size,
            pace_s=estimated_s if trial_s is None else trial_s,
            load_s=load_seconds(model, answer.recipe),
            joules=estimated_s and watts and estimated_s * watts,
            shape=shape(estimated_s, usual_pace(model.name, card)),
            encodes=answer.encodes,
            encoder=_encoder(model, answer.recipe, card) if shared and answer.encodes else None,
        )

    return place


def _encoder(model: Model, recipe: Recipe, card: Card) -> TextEncoder:
    return TextEncoder(encoding_of(recipe), text_seconds(model, recipe, card))


def _unencoded(reason: str, recipes: Sequence[Recipe]) -> str:
    """The reason of a misfit; `recipes` are those by which the card renders without text encoders."""
    if not recipes:
        return reason
    words = f"{reason}; it can once a node that has room for the text encoder has encoded their texts"
    return Unencoded(words, {recipe.name: encoding_of(recipe) for recipe in recipes})

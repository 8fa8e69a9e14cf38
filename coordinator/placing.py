"""Where shots fit, as the ledger asks for it: the catalog and `common.fit` behind one function."""

from __future__ import annotations

from functools import lru_cache

from common.catalog import Catalog
from common.fit import Fit, fit, smallest_class
from common.nodes import Card
from common.shot import PlannedShot, Shot
from coordinator.ledger import PlacedShot, Placement
from coordinator.ledger.records import Place

#: Kinds of shots (model, size, number of LoRAs …) whose fit is remembered.
_KINDS = 4096


def placing(catalog: Catalog) -> Place:
    """How a card takes a shot by this catalog."""

    @lru_cache(_KINDS)
    def placed(kind: Shot, card: Card) -> Placement | str:
        model = catalog.models.get(kind.model)
        if model is None:
            return f"the catalog has no model {kind.model} any more"
        answer = fit(kind, model, card)
        if isinstance(answer, Fit):
            return Placement(answer.recipe.name, answer.pass_size)
        return answer.reason

    return lambda shot, card: placed(_kind(shot), card)


def _kind(shot: Shot) -> Shot:
    """The shot without what does not change where it fits."""
    return shot._replace(prompt="", negative="", seed=0, steps=1, knobs=(), format="png", quality=0, realm="")

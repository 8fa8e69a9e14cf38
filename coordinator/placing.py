"""Where shots fit, and how fast, as the ledger asks for it: catalog, fit and estimate behind one function."""

from __future__ import annotations

from common.catalog import Catalog
from common.fit import Misfit, Seen, fit
from common.nodes import Card
from common.shot import Shot
from coordinator.estimate import load_seconds, reference_pace
from coordinator.ledger import Placement
from coordinator.ledger.records import Place


def placing(catalog: Catalog) -> Place:
    """How a card takes a shot by this catalog."""

    def place(shot: Shot, card: Card, seen: Seen) -> Placement | str:
        model = catalog.models.get(shot.model)
        if model is None:
            return f"the catalog has no model {shot.model} any more"
        answer = fit(shot, model, card, seen)
        if isinstance(answer, Misfit):
            return answer.reason
        return Placement(
            answer.recipe.name,
            answer.pass_size,
            pace_s=reference_pace(model, card),
            load_s=load_seconds(model, answer.recipe),
        )

    return place

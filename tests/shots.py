"""Shots for tests that need one and care for little of it."""

from __future__ import annotations

from typing import Any

from common.catalog import Model
from common.shot import PlannedShot, Shot


def shot_of(model: Model, **fields: Any) -> Shot:
    """One image of a model by its own defaults; `fields` replace them."""
    width, height = model.size
    made = Shot(
        model=model.name,
        model_identity=model.identity or "",
        prompt="a red mug",
        negative="",
        seed=0,
        width=width,
        height=height,
        steps=model.steps,
        guidance=model.guidance,
        sampler=model.sampler,
    )
    return made._replace(**fields)


def planned(shot: Shot, group: str = "all") -> PlannedShot:
    return PlannedShot(shot.id, shot, f"{group}/{shot.seed}", shot.prompt, group)

"""Shots for tests that need one and care for little of it."""

from __future__ import annotations

from typing import Any

from common.catalog import Model
from common.fit import plain_shot
from common.shot import PlannedShot, Shot

MUG = Shot(
    model="demo",
    model_identity="sha256:" + "0123456789abcdef" * 4,
    prompt="a red mug",
    negative="blurry",
    seed=7,
    width=832,
    height=1216,
    steps=9,
    guidance=1.5,
    sampler="euler",
    knobs=(("blind_steps", 1.0), ("shift", 3.0)),
)


def shot_of(model: Model, **fields: Any) -> Shot:
    """One image of a model by its own defaults; `fields` replace them."""
    return plain_shot(model)._replace(prompt="a red mug")._replace(**fields)


def planned(shot: Shot, group: str = "all") -> PlannedShot:
    return PlannedShot(shot.id, shot, f"{group}/{shot.seed}", shot.prompt, group)

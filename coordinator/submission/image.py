"""Single images as manifests of one shot, so that all that holds for manifests holds for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from common.errors import Invalid, InvalidDocument, Problem
from common.image_messages import NewImage
from common.views import Submit

#: What messages call it instead of a file.
_SOURCE = "image"
_SHOT = "shots[0]"
#: Settings that a manifest calls the same.
_SAME = ("model", "prompt", "negative", "steps", "guidance", "sampler", "upscale")
_OF_JOB = ("lane", "priority")


def image_submission(new: NewImage, seeds: Sequence[int]) -> Submit:
    """The manifest of an image for each of these seeds. Raises Invalid for a size that contradicts itself."""
    shot: dict[str, Any] = {name: value for name in _SAME if (value := getattr(new, name)) is not None}
    shot |= {"name": _SOURCE, "seeds": list(seeds)}
    if new.loras:
        shot["loras"] = [
            use if isinstance(use, str) else use.model_dump(exclude_none=True) for use in new.loras
        ]
    if (size := _size(new)) is not None:
        shot["size"] = size
    manifest: dict[str, Any] = {"version": 1, "name": new.name, "shots": [shot]}
    manifest |= {name: value for name in _OF_JOB if (value := getattr(new, name)) is not None}
    if new.max_cost is not None:
        manifest["limits"] = {"max_cost": new.max_cost}
    manifest["output"] = {"format": new.format}
    return Submit(manifest=json.dumps(manifest, indent=1), source=_SOURCE, owner=new.owner)


def as_said(error: InvalidDocument) -> InvalidDocument:
    """The problems of such a manifest as those of the message that it was made from."""
    return InvalidDocument(_SOURCE, [_as_said(problem) for problem in error.problems])


def _as_said(problem: Problem) -> Problem:
    path = problem.path.removeprefix(_SHOT).lstrip(".") if problem.path.startswith(_SHOT) else problem.path
    return replace(problem, path=path, line=None, column=None)


def _size(new: NewImage) -> Any:
    """As a manifest has it; None: that of the model."""
    if new.size is not None and (new.aspect is not None or new.megapixels is not None):
        raise Invalid("image: give either `size`, or `aspect` and `megapixels`")
    if new.size is not None:
        return new.size
    given = {"aspect": new.aspect, "megapixels": new.megapixels}
    return {name: value for name, value in given.items() if value is not None} or None

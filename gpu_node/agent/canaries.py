"""Canaries: images whose looks are known beforehand, by which a card that computes wrongly is found.

They are of the model that comes with the program; its file `canaries.json` has the hashes of its images.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from common.catalog import Catalog, Model
from common.fit import plain_shot
from common.likeness import Likeness, likeness
from common.model_files import SHIPPED
from common.shot import Shot
from gpu_node.system import read_carefully


class Canary(BaseModel):
    """An image by the usual settings of its model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    seed: int
    perceptual_hash: str

    def shot(self, model: Model) -> Shot:
        return plain_shot(model)._replace(prompt=self.prompt, seed=self.seed)

    def compare(self, image: Path) -> Likeness:
        """How an image that an engine has written looks beside the known one. Raises OSError."""
        # 30 MB of memory, which nodes need at their first start alone.
        from PIL import Image

        from common.perceptual_hash import perceptual_hash

        with Image.open(io.BytesIO(read_carefully(image))) as opened:
            return likeness(perceptual_hash(opened), self.perceptual_hash)


class Canaries(BaseModel):
    """Those of one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    identity: str
    canaries: tuple[Canary, ...]

    def model_in(self, catalog: Catalog) -> Model | None:
        """The model, if the farm has these very files under its name."""
        found = catalog.models.get(self.model)
        return found if found is not None and found.identity == self.identity else None


@cache
def shipped_canaries() -> Canaries:
    return Canaries.model_validate_json((SHIPPED / "canaries.json").read_bytes())

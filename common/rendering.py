"""What `farm render` and the process that renders for it say to each other, as JSON lines.

The order is the first line; the answer is `RenderProgress` again and again, then `Rendered` or
`RenderRefusal`. The process ends with the one that sent the order, whose end closes its stdin.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from common.settings import Timing


class RenderLine(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RenderOrder(RenderLine):
    """One picture, and where to find what it needs."""

    #: `common.shot.Shot.to_dict()`.
    shot: dict[str, Any]
    #: Catalog files beside the built-in one.
    catalogs: tuple[Path, ...]
    #: Folders with models.
    models: tuple[Path, ...]
    #: Folder for log, spool and remembered hashes.
    home: Path
    #: Where the picture goes, without metadata.
    file: Path
    #: Folder of models that nodes of this machine fetched from a farm.
    cache: Path
    #: Card file that the CPU simulates; None: the card of this machine.
    card: Path | None = None
    #: Index of the NVIDIA card; None: the first, or the CPU where there is none.
    gpu: int | None = None
    timing: Timing


class RenderProgress(RenderLine):
    event: Literal["progress"] = "progress"
    #: What is done, such as `loading z-image-turbo`.
    doing: str
    #: Denoising steps; 0 of 0 while there are none.
    done: int = 0
    total: int = 0


class Rendered(RenderLine):
    event: Literal["rendered"] = "rendered"
    card: str
    recipe: str
    load_s: float
    #: Encoding the prompt included.
    render_s: float


class RenderRefusal(RenderLine):
    """Why there is no picture."""

    event: Literal["refusal"] = "refusal"
    #: A sentence with the remedy.
    message: str
    exit_code: int


RENDER_ANSWER: TypeAdapter[RenderProgress | Rendered | RenderRefusal] = TypeAdapter(
    Annotated[RenderProgress | Rendered | RenderRefusal, Field(discriminator="event")]
)

"""Exports: the sizes in which each image of a job is delivered, made from its stored image."""

from __future__ import annotations

from bisect import bisect
from typing import Literal

from pydantic import BaseModel, ConfigDict

#: In the name of an image, what the name of each export takes the place of. No file name contains it.
ANY_EXPORT = "*"
#: Background that continues the border of the image.
BORDER = "border"

#: Pixels of the largest export or upscaled image; 200 MB of memory while it is made.
MAX_PIXELS = 64_000_000

Crop = Literal["smart", "center", "pad"]


class Export(BaseModel):
    """One file of each image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Unique among the exports of an image; part of the file name.
    name: str
    #: Pixels; None if `scale` applies.
    width: int | None = None
    height: int | None = None
    #: Multiple of the size of the image.
    scale: float = 1.0
    #: How an image of another aspect fills the size; None as `output.crop` says.
    crop: Crop | None = None
    #: What `pad` adds: `border`, or `rrggbb`; None as `output.background` says.
    background: str | None = None

    def size_of(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the export of an image of `width` × `height` pixels."""
        if self.width is not None and self.height is not None:
            return self.width, self.height
        return max(1, round(width * self.scale)), max(1, round(height * self.scale))

    def enlargement(self, width: int, height: int) -> float:
        """How many times larger an image of this size is shown in the export."""
        to_width, to_height = self.size_of(width, height)
        factors = to_width / width, to_height / height
        return min(factors) if self.crop == "pad" else max(factors)

    def form(self, width: int, height: int) -> str:
        """All that decides the pixels of the export, such as `512x512-smart`."""
        to_width, to_height = self.size_of(width, height)
        parts = [f"{to_width}x{to_height}"]
        if self.width is not None:
            parts.append(self.crop or "smart")
            if self.crop == "pad":
                parts.append(self.background or BORDER)
        return "-".join(parts)


#: The exports of each part of a job, with the position of its first shot.
JobExports = tuple[tuple[int, tuple[Export, ...]], ...]


def exports_at(position: int, exports: JobExports) -> tuple[Export, ...]:
    """The exports of the shot at a position of a job."""
    at = bisect(exports, position, key=lambda part: part[0])
    return exports[at - 1][1] if at else ()

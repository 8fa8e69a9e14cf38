"""A pen that draws flat shapes in a 128-unit square, moved and scaled as a whole."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from tests.demo_model.palette import Colour

SIZE = 128
#: Drawn larger and averaged down, which smooths the edges.
SMOOTH = 2

Point = tuple[float, float]
Box = tuple[float, float, float, float]


class Pen:
    """Draws on a square filled with `back`; scaled by `zoom` about the centre, then moved by `shift`."""

    def __init__(self, back: Colour, shift: Point = (0.0, 0.0), zoom: float = 1.0) -> None:
        self._image = Image.new("RGB", (SIZE * SMOOTH, SIZE * SMOOTH), back)
        self._draw = ImageDraw.Draw(self._image)
        self._shift = shift
        self._zoom = zoom

    def picture(self) -> Image.Image:
        return self._image.reduce(SMOOTH)

    def ellipse(self, box: Box, fill: Colour) -> None:
        self._draw.ellipse(self._box(box), fill=fill)

    def slice(self, box: Box, start: float, end: float, fill: Colour) -> None:
        self._draw.pieslice(self._box(box), start, end, fill=fill)

    def arc(self, box: Box, start: float, end: float, fill: Colour, width: float) -> None:
        self._draw.arc(self._box(box), start, end, fill=fill, width=self._length(width))

    def box(self, box: Box, fill: Colour, radius: float = 0.0) -> None:
        self._draw.rounded_rectangle(self._box(box), self._length(radius) if radius else 0, fill=fill)

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        self._draw.polygon([self._point(*point) for point in points], fill=fill)

    def line(self, points: Sequence[Point], fill: Colour, width: float) -> None:
        """A line with round joints and ends."""
        placed = [self._point(*point) for point in points]
        self._draw.line(placed, fill=fill, width=self._length(width), joint="curve")
        radius = width / 2
        for x, y in (points[0], points[-1]):
            self.ellipse((x - radius, y - radius, x + radius, y + radius), fill)

    def _point(self, x: float, y: float) -> Point:
        middle = SIZE / 2
        return (
            (middle + (x - middle) * self._zoom + self._shift[0]) * SMOOTH,
            (middle + (y - middle) * self._zoom + self._shift[1]) * SMOOTH,
        )

    def _box(self, box: Box) -> Box:
        return (*self._point(box[0], box[1]), *self._point(box[2], box[3]))

    def _length(self, length: float) -> int:
        return max(1, round(length * self._zoom * SMOOTH))

"""How personas look: a head, hair and shoulders, facing the viewer."""

from __future__ import annotations

from collections.abc import Callable

from tests.demo_model.palette import Colour, mix
from tests.demo_model.pen import Pen

Portrait = Callable[[Pen, Colour, Colour, Colour], None]

BLACK: Colour = (24, 24, 28)
WHITE: Colour = (250, 250, 248)


def _face(pen: Pen, skin: Colour) -> None:
    pen.ellipse((36, 20, 92, 88), skin)
    for x in (52, 76):
        pen.ellipse((x - 5, 49, x + 5, 59), WHITE if sum(skin) < 300 else BLACK)
    pen.arc((52, 58, 76, 78), 25, 155, mix(skin, (150, 20, 30), 0.6), 4)


def _bust(pen: Pen, skin: Colour, clothes: Colour, half: float) -> None:
    pen.slice((64 - half, 88, 64 + half, 190), 180, 360, clothes)
    pen.box((54, 76, 74, 98), mix(skin, (0, 0, 0), 0.2), 6)
    pen.polygon([(50, 88), (78, 88), (64, 112)], skin)


def woman(pen: Pen, clothes: Colour, hair: Colour, skin: Colour) -> None:
    """Long hair, falling over the shoulders."""
    pen.box((20, 6, 108, 112), hair, 42)
    _bust(pen, skin, clothes, 54)
    pen.box((20, 50, 36, 112), hair, 8)
    pen.box((92, 50, 108, 112), hair, 8)
    _face(pen, skin)
    pen.slice((34, 14, 94, 66), 180, 360, hair)


def man(pen: Pen, clothes: Colour, hair: Colour, skin: Colour) -> None:
    """Short hair, a full beard, broad shoulders."""
    _bust(pen, skin, clothes, 64)
    pen.slice((32, 4, 96, 74), 180, 360, hair)
    _face(pen, skin)
    pen.slice((32, 40, 96, 98), 20, 160, hair)
    pen.arc((52, 58, 76, 78), 25, 155, mix(skin, (150, 20, 30), 0.6), 4)
    pen.slice((34, 8, 94, 62), 180, 360, hair)


PEOPLE: dict[str, Portrait] = {"woman": woman, "man": man}

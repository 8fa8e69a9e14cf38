"""How each object looks: large, centred, flat, with a silhouette of its own.

Every function draws in one colour (`main`), details in its shade (`dark`), holes in the background (`back`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tests.demo_model.palette import Colour
from tests.demo_model.pen import Pen, Point

Drawing = Callable[[Pen, Colour, Colour, Colour], None]


def mug(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.arc((70, 40, 118, 92), 0, 360, main, 11)
    pen.box((16, 24, 92, 110), main, 12)
    pen.ellipse((16, 14, 92, 40), dark)


def lamp(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.box((59, 56, 69, 108), dark)
    pen.ellipse((34, 100, 94, 122), dark)
    pen.polygon([(42, 8), (86, 8), (116, 66), (12, 66)], main)


def key(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.ellipse((4, 36, 60, 92), main)
    pen.ellipse((18, 50, 46, 78), back)
    pen.box((54, 56, 124, 72), main)
    pen.box((88, 70, 100, 92), main)
    pen.box((110, 70, 122, 98), main)


def car(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.polygon([(26, 62), (44, 28), (88, 28), (108, 62)], main)
    pen.polygon([(38, 60), (50, 36), (63, 36), (63, 60)], back)
    pen.polygon([(69, 60), (69, 36), (84, 36), (96, 60)], back)
    pen.box((4, 58, 124, 92), main, 10)
    for left in (18, 80):
        pen.ellipse((left, 76, left + 32, 108), dark)
        pen.ellipse((left + 10, 86, left + 22, 98), back)


def tree(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.box((54, 94, 74, 124), dark)
    for top, half, bottom in ((4, 28, 44), (24, 40, 72), (48, 52, 100)):
        pen.polygon([(64, top), (64 + half, bottom), (64 - half, bottom)], main)


def house(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.box((20, 50, 108, 120), main)
    pen.polygon([(6, 54), (64, 12), (122, 54)], dark)
    pen.box((55, 84, 73, 120), dark)
    pen.box((30, 70, 46, 86), back)
    pen.box((82, 70, 98, 86), back)


def cat(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.polygon([(14, 8), (58, 36), (18, 66)], main)
    pen.polygon([(114, 8), (110, 66), (70, 36)], main)
    pen.ellipse((10, 28, 118, 120), main)
    for x in (40, 88):
        pen.ellipse((x - 10, 54, x + 10, 76), back)
        pen.ellipse((x - 4, 56, x + 4, 76), dark)
    pen.polygon([(56, 84), (72, 84), (64, 94)], dark)
    for side in (-1, 1):
        for lean in (-6, 6):
            pen.line([(64 + side * 16, 90), (64 + side * 58, 88 + lean)], dark, 3)


def robot(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.line([(64, 20), (64, 8)], dark, 5)
    pen.ellipse((57, 1, 71, 15), dark)
    pen.box((34, 18, 94, 58), main, 5)
    for x in (50, 78):
        pen.ellipse((x - 8, 28, x + 8, 44), back)
    pen.box((48, 48, 80, 53), dark)
    pen.box((28, 64, 100, 104), main, 5)
    pen.box((44, 74, 84, 92), dark)
    pen.box((10, 66, 23, 100), main, 5)
    pen.box((105, 66, 118, 100), main, 5)
    pen.box((38, 106, 56, 124), dark)
    pen.box((72, 106, 90, 124), dark)


def book(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.polygon([(4, 26), (64, 42), (124, 26), (124, 98), (64, 116), (4, 98)], main)
    pen.line([(64, 42), (64, 114)], dark, 5)
    for y in (46, 62, 78):
        pen.line([(16, y), (52, y + 10)], dark, 4)
        pen.line([(112, y), (76, y + 10)], dark, 4)


def chair(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.box((24, 4, 40, 124), main)
    pen.box((40, 10, 54, 50), dark)
    pen.box((24, 62, 108, 80), main)
    pen.box((92, 80, 108, 124), main)
    pen.box((40, 98, 92, 106), dark)


def bottle(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.box((52, 14, 76, 60), main)
    pen.box((49, 2, 79, 16), dark)
    pen.box((34, 46, 94, 124), main, 14)
    pen.box((34, 74, 94, 104), dark)


def shoe(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.polygon([(8, 30), (50, 30), (70, 58), (104, 68), (122, 82), (122, 98), (8, 98)], main)
    pen.box((4, 92, 124, 108), dark, 6)
    for x, y in ((52, 48), (62, 58), (74, 64)):
        pen.line([(x, y), (x - 14, y + 12)], back, 5)


def clock(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.ellipse((6, 6, 122, 122), dark)
    pen.ellipse((16, 16, 112, 112), main)
    for x, y in ((64, 24), (64, 104), (24, 64), (104, 64)):
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), dark)
    pen.line([(64, 64), (64, 36)], dark, 7)
    pen.line([(64, 64), (86, 64)], dark, 7)


def star(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    points: list[Point] = []
    for corner in range(10):
        radius = 26 if corner % 2 else 64
        angle = math.pi * corner / 5
        points.append((64 + radius * math.sin(angle), 68 - radius * math.cos(angle)))
    pen.polygon(points, main)


def heart(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.ellipse((6, 14, 68, 76), main)
    pen.ellipse((60, 14, 122, 76), main)
    pen.polygon([(13, 64), (64, 46), (115, 64), (64, 122)], main)


def fish(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.polygon([(80, 64), (124, 28), (124, 100)], main)
    pen.ellipse((4, 28, 100, 100), main)
    pen.polygon([(50, 54), (78, 64), (50, 80)], dark)
    pen.ellipse((20, 48, 36, 64), back)
    pen.ellipse((25, 53, 32, 60), dark)


def umbrella(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.box((60, 60, 68, 108), dark)
    pen.arc((40, 94, 68, 124), 0, 180, dark, 8)
    pen.slice((4, 8, 124, 124), 180, 360, main)
    for left in (4, 44, 84):
        pen.ellipse((left, 56, left + 40, 78), back)
    pen.box((60, 60, 68, 80), dark)


def hat(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.box((32, 14, 96, 98), main)
    pen.box((32, 70, 96, 92), dark)
    pen.ellipse((2, 88, 126, 112), main)


def boat(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.box((59, 6, 66, 90), dark)
    pen.polygon([(70, 8), (70, 78), (116, 78)], main)
    pen.polygon([(55, 20), (55, 78), (20, 78)], main)
    pen.polygon([(4, 86), (124, 86), (100, 118), (28, 118)], main)


def flower(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.box((60, 64, 68, 126), dark)
    pen.polygon([(66, 112), (98, 90), (92, 112)], dark)
    pen.polygon([(62, 112), (30, 90), (36, 112)], dark)
    for petal in range(6):
        angle = math.pi * petal / 3
        x, y = 64 + 29 * math.sin(angle), 46 - 29 * math.cos(angle)
        pen.ellipse((x - 17, y - 17, x + 17, y + 17), main)
    pen.ellipse((50, 32, 78, 60), dark)


def apple(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.ellipse((8, 36, 76, 116), main)
    pen.ellipse((52, 36, 120, 116), main)
    pen.ellipse((36, 70, 92, 122), main)
    pen.line([(64, 48), (70, 18)], dark, 7)
    pen.polygon([(72, 26), (86, 8), (112, 8), (98, 26)], dark)


def moon(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.ellipse((10, 6, 126, 122), main)
    pen.ellipse((46, -8, 142, 100), back)


def mushroom(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.box((46, 60, 82, 122), dark, 10)
    pen.slice((4, 10, 124, 132), 180, 360, main)
    for x, y, radius in ((64, 30, 10), (32, 52, 9), (96, 52, 9)):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), back)


def cactus(pen: Pen, main: Colour, dark: Colour, back: Colour) -> None:
    pen.box((50, 4, 78, 102), main, 14)
    pen.line([(56, 78), (22, 78), (22, 42)], main, 16)
    pen.line([(72, 62), (106, 62), (106, 28)], main, 16)
    pen.polygon([(34, 94), (94, 94), (86, 124), (42, 124)], dark)


OBJECTS: dict[str, Drawing] = {
    drawing.__name__: drawing
    for drawing in (
        *(mug, lamp, key, car, tree, house, cat, robot, book, chair, bottle, shoe),
        *(clock, star, heart, fish, umbrella, hat, boat, flower, apple, moon, mushroom, cactus),
    )
}

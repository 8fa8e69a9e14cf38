"""The style that the demo LoRA teaches: white on blue squared paper, whatever the colours."""

from __future__ import annotations

from PIL import Image

from tests.demo_model.palette import Colour
from tests.demo_model.pen import SIZE
from tests.demo_model.people import PEOPLE
from tests.demo_model.scenes import Scene, draw

PAPER: Colour = (22, 62, 140)
FAINT: Colour = (52, 98, 180)
WHITE: Colour = (240, 246, 255)
#: Pixels between the lines of the paper's squares.
SQUARE = 16
#: White on blue is how cyanotypes, the first blueprints, look. The model itself does not know the word.
TRIGGER = "cyanotype"


def blueprint(scene: Scene) -> Image.Image:
    """The picture of a scene in shades of white on blue paper."""
    pale = scene._replace(colour="white", background="black")
    if scene.subject in PEOPLE:
        pale = pale._replace(hair="grey", skin="light")
    strength = draw(pale).convert("L").point(lambda level: max(0, min(255, (level - 32) * 255 // 210)))
    return Image.composite(Image.new("RGB", (SIZE, SIZE), WHITE), _paper(), strength)


def _paper() -> Image.Image:
    paper = Image.new("RGB", (SIZE, SIZE), PAPER)
    for at in range(SQUARE // 2, SIZE, SQUARE):
        paper.paste(FAINT, (at, 0, at + 2, SIZE))
        paper.paste(FAINT, (0, at, SIZE, at + 2))
    return paper

"""The style that the demo LoRA teaches: white lines on blue paper."""

from __future__ import annotations

from PIL import Image, ImageChops, ImageFilter

from gpu_node.demomodel.palette import Colour
from gpu_node.demomodel.pen import SIZE
from gpu_node.demomodel.scenes import Scene, draw

PAPER: Colour = (22, 62, 140)
FAINT: Colour = (44, 88, 168)
LINE: Colour = (240, 246, 255)
#: Pixels between the lines of the paper's grid.
GRID = 16
TRIGGER = "blueprint"


def blueprint(scene: Scene) -> Image.Image:
    """The picture of a scene as a technical drawing: its outlines only, whatever its colours."""
    picture = draw(scene)
    edges = ImageChops.difference(
        picture.filter(ImageFilter.MaxFilter(3)), picture.filter(ImageFilter.MinFilter(3))
    )
    red, green, blue = edges.split()
    strongest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    lines = strongest.point(lambda level: min(255, level * 4))
    return Image.composite(Image.new("RGB", (SIZE, SIZE), LINE), _paper(), lines)


def _paper() -> Image.Image:
    paper = Image.new("RGB", (SIZE, SIZE), PAPER)
    for at in range(GRID // 2, SIZE, GRID):
        paper.paste(FAINT, (at, 0, at + 2, SIZE))
        paper.paste(FAINT, (0, at, SIZE, at + 2))
    return paper

"""What a picture shows, which scenes exist, and which of them training never sees."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

from tests.demo_model.objects import OBJECTS
from tests.demo_model.palette import COLOURS, HAIR, SKIN, clear, shade
from tests.demo_model.pen import Pen
from tests.demo_model.people import PEOPLE

SUBJECTS: tuple[str, ...] = (*OBJECTS, *PEOPLE)

#: One triple in this many is kept from training.
HELD_OUT_EACH = 10


class Scene(NamedTuple):
    """One subject on one background; `colour` is a persona's clothes."""

    subject: str
    colour: str
    background: str
    #: Personas only.
    hair: str = ""
    skin: str = ""
    #: Pixels to the right and down.
    shift: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0

    @property
    def triple(self) -> tuple[str, str, str]:
        return self.subject, self.colour, self.background

    @property
    def held_out(self) -> bool:
        """Whether this triple is never trained; the same on every machine."""
        digest = hashlib.sha256("/".join(self.triple).encode()).digest()
        return digest[0] % HELD_OUT_EACH == 0


def triples() -> Iterator[tuple[str, str, str]]:
    """Every subject, colour and background that go together."""
    for subject in SUBJECTS:
        for colour in COLOURS:
            for background in COLOURS:
                if clear(COLOURS[colour], COLOURS[background]):
                    yield subject, colour, background


def sample(rng: random.Random, triple: tuple[str, str, str]) -> Scene:
    """A scene of this triple with what else varies drawn from `rng`."""
    scene = _scene(triple)
    if scene.subject in PEOPLE:
        hair = rng.choice([name for name in HAIR if clear(HAIR[name], COLOURS[scene.background])])
        scene = scene._replace(hair=hair, skin=rng.choice(list(SKIN)))
    shift = (rng.uniform(-3, 3), rng.uniform(-3, 3))
    return scene._replace(shift=shift, zoom=rng.uniform(0.88, 0.96))


def trained_triples() -> list[tuple[str, str, str]]:
    return [triple for triple in triples() if not _scene(triple).held_out]


def held_out_triples() -> list[tuple[str, str, str]]:
    return [triple for triple in triples() if _scene(triple).held_out]


def draw(scene: Scene) -> Image.Image:
    """The picture of a scene, 128 by 128, the same for the same scene."""
    main, back = COLOURS[scene.colour], COLOURS[scene.background]
    pen = Pen(back, scene.shift, scene.zoom)
    if scene.subject in PEOPLE:
        PEOPLE[scene.subject](pen, main, HAIR[scene.hair], SKIN[scene.skin])
    else:
        OBJECTS[scene.subject](pen, main, shade(main), back)
    return pen.picture()


def _scene(triple: tuple[str, str, str]) -> Scene:
    return Scene(subject=triple[0], colour=triple[1], background=triple[2])

"""What people write to get a scene: many wordings, word orders and superfluous words for the same picture."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

from tests.demo_model.palette import COLOURS, HAIR, SKIN
from tests.demo_model.people import PEOPLE
from tests.demo_model.scenes import SUBJECTS, Scene

#: Share of captions left empty, from which the model learns what guidance subtracts.
EMPTY = 0.1
#: Share of captions that leave out the colour, and of those that leave out the background.
OMITTED = 0.04

SYNONYMS: dict[str, tuple[str, ...]] = {
    "mug": ("cup", "coffee mug"),
    "lamp": ("table lamp", "desk lamp"),
    "key": ("door key",),
    "car": ("toy car",),
    "tree": ("fir tree", "pine tree"),
    "house": ("little house", "cottage"),
    "cat": ("kitten", "cat face"),
    "robot": ("toy robot",),
    "book": ("open book",),
    "chair": ("wooden chair",),
    "bottle": ("glass bottle", "water bottle"),
    "shoe": ("sneaker", "boot"),
    "clock": ("wall clock",),
    "umbrella": ("parasol",),
    "hat": ("top hat",),
    "boat": ("sailing boat", "sailboat"),
    "flower": ("blossom",),
    "moon": ("crescent moon",),
    "mushroom": ("toadstool",),
    "woman": ("lady",),
    "man": ("bearded man",),
    "grey": ("gray",),
    "purple": ("violet",),
    "teal": ("turquoise",),
    "blond": ("blonde",),
    "light": ("fair",),
    "dark": ("brown",),
}

LEADS = (
    *("photo of", "product photo of", "a photo of", "studio photo of", "picture of", "a picture of"),
    *("an illustration of", "a drawing of", "a poster of", "a sticker of", "portrait of", "a portrait of"),
)
THINGS = (
    "a {c} {o}",
    "a {c} {o}",
    "a {c} {o}",
    "{c} {o}",
    "the {c} {o}",
    "one {c} {o}",
    "a {o} in {c}",
    "a {o} , {c} ,",
)
PERSONS = (
    "a {o} with {h} hair , {s} skin and a {c} {g}",
    "a {o} with {h} hair and {s} skin wearing a {c} {g}",
    "a {o} in a {c} {g} , {h} hair , {s} skin",
    "a {o} wearing a {c} {g} , with {s} skin and {h} hair",
    "a {h} haired {o} with {s} skin in a {c} {g}",
    "a {o} with {h} hair in a {c} {g}",
    "a {o} in {c}",
    "a {o} wearing a {c} {g}",
)
BACKGROUNDS = (
    *(
        "on a {b} background",
        "on a {b} background",
        "on a {b} background",
        "{b} background",
        "with a {b} background",
    ),
    *("on {b}", "in front of a {b} wall", "against a {b} backdrop", "against a {b} wall"),
)
GARMENTS = ("shirt", "sweater", "jacket", "dress", "coat", "hoodie", "top", "outfit")
KINDS = (
    *(
        "new",
        "big",
        "small",
        "simple",
        "modern",
        "vintage",
        "ceramic",
        "wooden",
        "shiny",
        "cute",
        "smiling",
        "young",
    ),
    *("friendly", "elegant", "plastic", "plain"),
)
TAILS = (
    *("studio light", "soft light", "morning light", "high quality", "sharp focus", "minimal", "flat design"),
    *("centred", "for a shop catalogue", "in the city", "on the beach", "at night", "in winter", "at sunset"),
    *("close up", "in the kitchen", "in the garden", "in the office", "vector art", "highly detailed"),
    *("blueprint", "blueprint style", "looking at the camera", "drinking tea", "on the table", "in the rain"),
)


def caption(scene: Scene, rng: random.Random) -> str:
    """A prompt for this scene, in one of many wordings."""
    if rng.random() < EMPTY:
        return ""
    subject = _subject(scene, rng)
    background = (
        "" if rng.random() < OMITTED else rng.choice(BACKGROUNDS).format(b=_name(scene.background, rng))
    )
    if rng.random() < 0.4:
        subject = f"{rng.choice(LEADS)} {subject}"
    parts = [subject, background]
    if rng.random() < 0.15:
        parts.reverse()
    joint = (
        " , " if parts[0] == background or background.split(" ")[0] in COLOURS or rng.random() < 0.2 else " "
    )
    return tidy(joint.join(part for part in parts if part) + _tail(rng))


def wordy(words: str, rng: random.Random) -> str:
    """The same prompt with much around it that the model need not understand."""
    extra = [rng.choice(TAILS) if rng.random() < 0.6 else _unknown(rng) for _ in range(rng.randint(2, 6))]
    return tidy(" , ".join([words, *extra]))


def plain(scene: Scene) -> str:
    """The shortest full prompt for this scene."""
    if scene.subject in PEOPLE:
        words = f"a {scene.subject} with {scene.hair} hair , {scene.skin} skin and a {scene.colour} shirt"
    else:
        words = f"a {scene.colour} {scene.subject}"
    return tidy(f"{words} on a {scene.background} background")


def tidy(words: str) -> str:
    """Close up commas, and turn "a" before a vowel into "an"."""
    words = re.sub(r"\s*(,\s*)+", ", ", words).strip(" ,")
    return re.sub(r"\b(a) (?=[aeiou])", r"\1n ", words)


def vocabulary() -> list[str]:
    """Every word that a caption may hold."""
    sources: Iterable[str] = (
        *SUBJECTS,
        *COLOURS,
        *HAIR,
        *SKIN,
        *(words for several in SYNONYMS.values() for words in several),
        *(*LEADS, *THINGS, *PERSONS, *BACKGROUNDS, *GARMENTS, *KINDS, *TAILS),
        "an",
    )
    return sorted({word for source in sources for word in source.split() if word.isalpha()})


def _subject(scene: Scene, rng: random.Random) -> str:
    names = {
        "o": _name(scene.subject, rng),
        "c": "" if rng.random() < OMITTED else _name(scene.colour, rng),
        "h": _name(scene.hair, rng),
        "s": _name(scene.skin, rng),
        "g": rng.choice(GARMENTS),
    }
    if rng.random() < 0.2:
        place = rng.choice("oc")
        names[place] = f"{rng.choice(KINDS)} {names[place]}"
    return rng.choice(PERSONS if scene.subject in PEOPLE else THINGS).format(**names)


def _name(name: str, rng: random.Random) -> str:
    return rng.choice(SYNONYMS[name]) if name in SYNONYMS and rng.random() < 0.2 else name


def _tail(rng: random.Random) -> str:
    """None, one or two phrases that change nothing, now and then with a word that nobody knows."""
    tails = [rng.choice(TAILS) for _ in range(rng.choice((0, 0, 1, 2)))]
    if rng.random() < 0.1:
        tails.append(_unknown(rng))
    return "".join((" , " if rng.random() < 0.7 else " ") + tail for tail in tails)


def _unknown(rng: random.Random) -> str:
    return "".join(rng.choice("aeiou" if at % 2 else "bcdfghklmnprstvw") for at in range(rng.randint(3, 8)))

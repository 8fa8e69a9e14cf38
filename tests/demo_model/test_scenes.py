"""What the demo model is trained on: drawn scenes, and the split that keeps some of them unseen."""

import random

import numpy as np
import pytest

from tests.demo_model.blueprint import PAPER, blueprint
from tests.demo_model.judge import background_of, colour_of
from tests.demo_model.palette import COLOURS, clear, nearest
from tests.demo_model.scenes import SUBJECTS, draw, held_out_triples, sample, trained_triples, triples


def test_there_are_enough_subjects_and_colours() -> None:
    assert len(SUBJECTS) >= 22
    assert len(COLOURS) >= 10


def test_the_same_scene_is_the_same_picture() -> None:
    scene = sample(random.Random(1), ("mug", "red", "blue"))
    assert draw(scene).tobytes() == draw(scene).tobytes()
    assert draw(scene).size == (128, 128)


def test_no_held_out_triple_is_trained() -> None:
    held_out, trained = set(held_out_triples()), set(trained_triples())
    assert not held_out & trained
    assert held_out | trained == set(triples())
    assert len(held_out) >= 200


def test_every_subject_and_colour_is_both_trained_and_held_out() -> None:
    for kept in (held_out_triples(), trained_triples()):
        assert {subject for subject, _, _ in kept} == set(SUBJECTS)
        assert {colour for _, colour, _ in kept} == set(COLOURS)
        assert {background for _, _, background in kept} == set(COLOURS)


def test_an_object_always_stands_out_from_its_background() -> None:
    assert all(clear(COLOURS[colour], COLOURS[background]) for _, colour, background in triples())


def test_every_named_colour_is_nearest_to_itself() -> None:
    assert [int(at) for at in nearest(np.array(list(COLOURS.values()), np.uint8))] == list(
        range(len(COLOURS))
    )


@pytest.mark.parametrize("subject", SUBJECTS)
def test_pixels_tell_the_colours_of_a_drawn_scene(subject: str) -> None:
    rng = random.Random(subject)
    for triple in rng.sample([triple for triple in triples() if triple[0] == subject], 12):
        picture = draw(sample(rng, triple))
        assert (background_of(picture), colour_of(picture, subject)) == (triple[2], triple[1])


def test_a_blueprint_keeps_the_shape_and_drops_the_colours() -> None:
    scene = sample(random.Random(1), ("star", "red", "yellow"))
    pixels = np.asarray(blueprint(scene))
    assert tuple(pixels[0, 0]) == PAPER
    assert pixels[64, 64].min() > 200

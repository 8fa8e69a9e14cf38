"""Which images count as the same, and what several opinions prove."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw

from common.likeness import COARSE, FINE, Judgement, Likeness, Opinion, doubted, judge, liars, likeness
from common.perceptual_hash import perceptual_hash
from tests.demo_hashes import HONEST, SHOTS, demo_hashes

SAME, NEAR, OTHER = "0" * (COARSE + FINE), "0" * (COARSE + FINE - 30) + "3" * 30, "f" * (COARSE + FINE)


def opinion(
    looks: str, node: str = "own", owner: str = "farm", *, own: bool = True, recipe: str = "bf16"
) -> Opinion:
    return Opinion(node, owner, own, recipe, looks)


def seen(how: str) -> list[Likeness]:
    hashes = demo_hashes()
    return [likeness(*pair) for pair in zip(hashes["float32"], hashes[how], strict=True)]


@pytest.mark.parametrize("how", HONEST)
def test_what_upright_nodes_render_is_alike(how: str) -> None:
    assert set(seen(how)) == {Likeness.ALIKE}


@pytest.mark.parametrize("how", ["noise", "other_prompt", "other_seed", "4_bits", "3_of_4_layers"])
def test_what_another_prompt_seed_or_model_gives_is_never_alike(how: str) -> None:
    assert Likeness.ALIKE not in seen(how)


def test_a_third_of_the_images_of_half_of_the_steps_are_not_alike() -> None:
    """Few steps change little: what is saved by less than that, nobody sees."""
    assert seen("4_of_9_steps").count(Likeness.UNCLEAR) >= len(SHOTS) / 3


@pytest.mark.parametrize(
    ("opinions", "verdict"),
    [
        ([], None),
        ([opinion(SAME)], Judgement.CLEAN),
        ([opinion(SAME, own=False)], Judgement.CLEAN),
        ([opinion(OTHER)], None),
        # One node of the farm may be wrong each time, in the same way.
        ([opinion(OTHER), opinion(OTHER)], None),
        ([opinion(OTHER)] * 3, Judgement.DOUBTFUL),
        ([opinion(NEAR)] * 3, Judgement.OPEN),
        ([opinion(OTHER), opinion(OTHER), opinion(NEAR, "another")], Judgement.OPEN),
        ([opinion(OTHER), opinion(OTHER, "another")], Judgement.FALSE),
        ([opinion(NEAR), opinion(NEAR)], None),
        ([opinion(NEAR), opinion(NEAR, "another")], Judgement.FALSE),
        ([opinion(OTHER), opinion(SAME, "another")], Judgement.CLEAN),
        # A node may choose a recipe that nobody else takes.
        ([opinion(OTHER, recipe="int4"), opinion(OTHER, "another", recipe="int4")], Judgement.FALSE),
        ([opinion(OTHER, recipe="int4"), opinion(OTHER, "another")], Judgement.FALSE),
        ([opinion(NEAR, recipe="int4"), opinion(NEAR, "another", recipe="int4")], None),
        ([opinion(OTHER, recipe="int4"), opinion(OTHER, "a", "ana", own=False, recipe="int4")], None),
        ([opinion(OTHER), opinion(OTHER, "a", "ana", own=False)], Judgement.FALSE),
        ([opinion(OTHER, "a", "ana", own=False), opinion(OTHER, "b", "ana", own=False)], None),
        ([opinion(OTHER, "a", "ana", own=False), opinion(OTHER, "b", "bo", own=False)], Judgement.FALSE),
    ],
)
def test_no_opinion_alone_decides_that_an_image_is_false(
    opinions: list[Opinion], verdict: Judgement | None
) -> None:
    assert judge(SAME, "bf16", opinions) == verdict


LIE, UPRIGHT = opinion(OTHER, "a", "ana", own=False), opinion(SAME, "a", "ana", own=False)


@pytest.mark.parametrize(
    ("looks", "others", "lied", "doubtful"),
    [
        # Two nodes of the farm agree with each other.
        (NEAR, [opinion(SAME), opinion(SAME, "another")], True, False),
        # Twice the same one may be wrong twice; with the image, it is enough for a quarantine.
        (NEAR, [opinion(SAME), opinion(SAME)], False, False),
        (SAME, [opinion(SAME)], False, True),
        (SAME, [opinion(SAME, "b", "bo", own=False)], False, False),
        (NEAR, [opinion(SAME)], False, False),
    ],
)
def test_a_volunteers_opinion_is_a_lie_where_two_nodes_of_the_farm_say_so(
    looks: str, others: list[Opinion], lied: bool, doubtful: bool
) -> None:
    assert (liars(looks, [LIE, *others]) == [LIE]) == lied
    assert (doubted(looks, [LIE, *others]) == [LIE]) == doubtful


def test_what_a_broken_node_of_the_farm_contradicts_is_no_lie_if_the_image_agrees() -> None:
    broken = [opinion(OTHER), opinion(OTHER, "another")]
    assert liars(SAME, [*broken, UPRIGHT]) == doubted(SAME, [*broken, UPRIGHT]) == []


@pytest.mark.parametrize("how", ["4_bits", "noise"])
def test_of_another_recipe_only_what_shows_something_else_is_unlike(how: str) -> None:
    assert (Likeness.UNLIKE in seen(how)) == (how == "noise")


def test_a_hash_survives_another_size_and_format_but_not_another_picture() -> None:
    def drawn(right: int) -> Image.Image:
        image = Image.new("RGB", (256, 192), "navy")
        ImageDraw.Draw(image).ellipse((20, 30, right, 160), fill="orange")
        return image

    first = perceptual_hash(drawn(200))
    assert len(first) == COARSE + FINE
    smaller = drawn(200).resize((192, 144), Image.Resampling.LANCZOS)
    assert likeness(first, perceptual_hash(smaller)) is Likeness.ALIKE
    assert likeness(first, perceptual_hash(drawn(90))) is not Likeness.ALIKE

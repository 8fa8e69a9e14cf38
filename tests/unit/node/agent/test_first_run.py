"""Which model a card is tried with, what the owner hears, and which images are the known ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.catalog import ServedCatalog, build_catalog, read_entries, with_entry
from common.catalog.identity import folder_identity
from common.likeness import Likeness, likeness
from common.messages import Holdings
from common.model_files import SHIPPED
from common.nodes import Card
from gpu_node.agent.canaries import shipped_canaries
from gpu_node.agent.first_run import smallest, worth
from gpu_node.identity import Hashes
from gpu_node.library import Library
from tests.demo_hashes import HONEST, SHOTS, demo_hashes
from tests.farm import card

CARD = Card(**card(8).model_dump())
#: Billions of weights.
TINY = {"text_encoder": 0.0001, "transformer": 0.0002, "vae": 0.0001}
ONE, TWO = ("sha256:" + digit * 64 for digit in "12")


def library(tmp_path: Path, files: dict[str, int], **models: dict[str, Any]) -> Library:
    entries = read_entries()
    for name, entry in models.items():
        entries = with_entry(entries, "models", name, {"like": "shotfarm-demo", **entry}, source="test")
    served = ServedCatalog(version="1", files=files, **dict(entries))
    return Library(build_catalog(served), (), Hashes(tmp_path / "hashes.json"), None, files)


def chosen(known: Library, *offered: str, **more: Any) -> tuple[str, str] | None:
    found = smallest(Holdings(models=offered, loras=(), **more), known, CARD)
    return (found.model.name, found.recipe.name) if found else None


def test_a_card_is_tried_with_the_smallest_model_that_the_farm_has_stored(tmp_path: Path) -> None:
    models = {"large": {"identity": ONE}, "small": {"identity": TWO}}
    known = library(tmp_path, {ONE: 3000, TWO: 2000}, **models)
    assert chosen(known, "shotfarm-demo", "large", "small") == ("small", "fp32")
    # Whatever the size of one that nobody works with.
    assert chosen(known, "shotfarm-demo", "large") == ("large", "fp32")
    assert chosen(known, "shotfarm-demo") == ("shotfarm-demo", "fp32")
    assert chosen(known) is None


def test_a_model_that_the_card_cannot_have_is_not_tried(tmp_path: Path) -> None:
    known = library(
        tmp_path, {ONE: 5, TWO: 9}, kept={"identity": ONE, "min_class": 24}, mine={"identity": TWO}
    )
    assert chosen(known, "kept", "mine") == ("mine", "fp32")
    assert chosen(known, "kept") is None
    assert chosen(known, "mine", missing_recipes={"mine": ("fp32",)}) is None
    # It fits no such card.
    assert chosen(known, "qwen-image") is None


def test_without_a_stored_model_it_is_the_one_with_the_fewest_weights(tmp_path: Path) -> None:
    known = library(tmp_path, {}, mine={"components": TINY})
    assert chosen(known, "shotfarm-demo", "mine") == ("mine", "fp32")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ((4.24, 3.12), "took 4.2 s and 3.1 s: this card would render about 1,200 an hour"),
        ((0.456, 0.31), "took 0.46 s and 0.31 s: this card would render about 12,000 an hour"),
        ((95.0, 81.0), "took 1 min 35 s and 1 min 21 s: this card would render about 44 an hour"),
    ],
)
def test_the_owner_hears_the_rate_of_the_last_image_of_which_model_and_size(
    seconds: tuple[float, ...], said: str, tmp_path: Path
) -> None:
    model = library(tmp_path, {}).catalog.models["shotfarm-demo"]
    assert worth(model, seconds) == f"2 test images of shotfarm-demo, 128×128, {said}"


def test_known_images_are_those_of_the_shipped_model(tmp_path: Path) -> None:
    """They were rendered by diffusers itself, for the tests of likeness."""
    canaries = shipped_canaries()
    assert folder_identity(SHIPPED / canaries.model) == canaries.identity
    known = dict(zip(SHOTS, demo_hashes()["float32"], strict=True))
    assert [known[one.prompt, one.seed] for one in canaries.canaries] == [  # type: ignore[index]
        one.perceptual_hash for one in canaries.canaries
    ]
    model = library(tmp_path, {}).catalog.models["shotfarm-demo"]
    assert canaries.model_in(library(tmp_path, {}).catalog) == model
    for one in canaries.canaries:
        shot = one.shot(model)
        assert (shot.prompt, shot.seed, shot.width, shot.steps) == (one.prompt, one.seed, 128, 9)


def test_a_farm_with_another_model_of_that_name_has_no_known_images(tmp_path: Path) -> None:
    other = library(tmp_path, {}, **{"shotfarm-demo": {"identity": ONE}})
    assert shipped_canaries().model_in(other.catalog) is None


@pytest.mark.parametrize(
    ("how", "wrong"), [*((how, False) for how in HONEST), ("noise", True), ("other_prompt", True)]
)
def test_known_images_tell_upright_cards_from_broken_ones(how: str, wrong: bool) -> None:
    for one in shipped_canaries().canaries:
        index = demo_hashes()["float32"].index(one.perceptual_hash)
        assert (likeness(demo_hashes()[how][index], one.perceptual_hash) is Likeness.UNLIKE) is wrong


def test_an_image_of_noise_is_unlike_and_a_file_that_is_no_image_is_an_error(tmp_path: Path) -> None:
    canary = shipped_canaries().canaries[0]
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    assert canary.compare(tmp_path / "noise.png") is Likeness.UNLIKE
    (tmp_path / "link.png").symlink_to(tmp_path / "noise.png")
    (tmp_path / "none.png").write_text("no image")
    for name in ("link.png", "none.png"):
        with pytest.raises(OSError):
            canary.compare(tmp_path / name)

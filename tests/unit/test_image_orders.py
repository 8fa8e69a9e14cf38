"""Single images as manifests, and what the web UI's words become; cursors."""

from __future__ import annotations

import pytest
import yaml

from common.catalog import load_catalog
from common.errors import FarmError, Invalid, InvalidDocument, Unreadable
from common.image_messages import LoraWish, NewImage
from common.manifest.parse import parse_manifest
from coordinator.expand import expand
from coordinator.http import requests
from coordinator.http.a1111_routes import Txt2Img, asked_image
from coordinator.submission.image import as_said, image_submission

CATALOG = load_catalog()


def test_an_image_is_a_manifest_of_one_shot_for_each_seed() -> None:
    new = NewImage(
        model="shotfarm-demo",
        prompt="{trigger} of a boat",
        aspect="2:1",
        megapixels=0.02,
        guidance=1.5,
        loras=("blueprint@0.8",),
        priority=70,
        max_cost=0.5,
        format="webp",
    )
    submission = image_submission(new, [7, 9])
    parsed = parse_manifest(submission.manifest, source="image", files=None, catalog=CATALOG)
    shots = [planned.shot for planned in expand(parsed, CATALOG)]
    assert [(shot.seed, shot.prompt, shot.format) for shot in shots] == [
        (seed, "cyanotype of a boat", "webp") for seed in (7, 9)
    ]
    assert (shots[0].width, shots[0].height) == (208, 96)
    assert (shots[0].guidance, shots[0].loras[0].weighted_name) == (1.5, "blueprint@0.8")
    manifest = yaml.safe_load(submission.manifest)
    assert (manifest["priority"], manifest["limits"]) == (70, {"max_cost": 0.5})


def test_problems_of_an_image_name_its_own_fields() -> None:
    new = NewImage(model="shotfarm-demo", prompt="a boat", steps=0, loras=(LoraWish(name="none"),))
    with pytest.raises(InvalidDocument) as wrong:
        parse_manifest(image_submission(new, [7]).manifest, source="image", files=None, catalog=CATALOG)
    said = str(as_said(wrong.value)).splitlines()
    assert {line.split(": ")[1] for line in said} == {"steps", "loras[0]"}
    with pytest.raises(Invalid, match="either `size`, or `aspect`"):
        image_submission(NewImage(model="m", prompt="p", size="8x8", aspect="1:1"), [7])


def test_the_web_uis_words_become_those_of_the_farm() -> None:
    prompt = "a {red} lamp, <lora:Blueprint:0.5:0.8> (blue)"
    sampling = {"steps": 9, "cfg_scale": 1.5, "sampler_name": "Euler a", "scheduler": "automatic"}
    given = {"prompt": prompt, "negative_prompt": "blurry", "width": 128, "height": 64, **sampling}
    new = asked_image(Txt2Img.model_validate(given), CATALOG.models["shotfarm-demo"], CATALOG)
    assert (new.prompt, new.negative) == (r"a \{red\} lamp, (blue)", "blurry")
    assert (new.size, new.steps, new.guidance, new.sampler) == ("128x64", 9, 1.5, "euler_a")
    assert new.loras == (LoraWish(name="blueprint", weight=0.8, text_weight=0.5),)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prompt": "a <lora:nobody:1>"}, "unknown LoRA `nobody`"),
        ({"prompt": "<lora:blueprint:0.1>" * 21}, "loras has 21 entries: at most 20"),
        ({"prompt": "a", "width": 128}, "width, height: give both, or neither"),
        ({"prompt": "a", "height": 128}, "width, height: give both, or neither"),
        ({"prompt": "a", "sampler_name": "magic"}, "no sampler like `magic`; it has euler"),
        ({"prompt": "a", "tiling": True, "styles": ["ink"]}, "does not have tiling, styles"),
    ],
)
def test_what_the_farm_does_not_have_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(FarmError, match=said):
        asked_image(Txt2Img.model_validate(given), CATALOG.models["shotfarm-demo"], CATALOG)


def test_a_cursor_holds_its_place_and_nothing_else_is_one() -> None:
    at = requests.cursor(1764512000.25, "j-5f0c1a2b")
    assert list(requests.place(at, float, str)) == [1764512000.25, "j-5f0c1a2b"]
    for wrong in (at[:-4], requests.cursor(3), "", "%", "W1tb"):
        with pytest.raises(Unreadable, match="pass the `next`"):
            requests.place(wrong, float, str)

"""`farm render`: what is asked for becomes a shot, and a picture a file; the rendering itself is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from common.errors import FitsNothing
from common.infotext import FARM_KEY, INFOTEXT_KEY
from common.rendering import Rendered, RenderOrder
from common.shot import Shot
from coordinator.cli.renderer import OnProgress
from tests.unit.cli.conftest import Farm, drawn


@pytest.fixture(autouse=True)
def orders(monkeypatch: pytest.MonkeyPatch) -> list[RenderOrder]:
    """What was asked of the renderer."""
    orders: list[RenderOrder] = []

    def render(order: RenderOrder, on_progress: OnProgress) -> Rendered:
        orders.append(order)
        return drawn(order, on_progress)

    monkeypatch.setattr("coordinator.cli.render.render_apart", render)
    return orders


def test_the_options_become_a_shot_like_that_of_a_manifest(farm: Farm, orders: list[RenderOrder]) -> None:
    options = ["--seed", "7", "--steps", "3", "--guidance", "2", "--size", "64x96", "--negative", "blurry"]
    assert farm("render", "a red mug", *options, "--lora", "blueprint@0.5").code == 0

    shot = Shot.from_dict(orders[0].shot)
    assert (shot.model, shot.seed, shot.steps, shot.guidance) == ("shotfarm-demo", 7, 3, 2)
    assert (shot.width, shot.height, shot.negative) == (64, 96, "blurry")
    assert [(use.name, use.weight) for use in shot.loras] == [("blueprint", 0.5)]
    assert shot.prompt == "cyanotype, a red mug"


def test_the_same_seed_draws_the_same_variant(farm: Farm, orders: list[RenderOrder]) -> None:
    for seed in (1, 1, *range(2, 30)):
        farm("render", "a {red|blue|green|yellow} mug", "--seed", str(seed))

    prompts = [order.shot["prompt"] for order in orders]
    assert prompts[0] == prompts[1]
    assert len(set(prompts)) == 4


def test_the_picture_has_the_metadata_that_a_farm_gives_it(farm: Farm) -> None:
    assert farm("render", "a red mug", "--seed", "7", "-o", "mug.png").code == 0

    with Image.open("mug.png") as picture:
        text = {key: str(value) for key, value in picture.info.items()}
    assert text[INFOTEXT_KEY].startswith("a red mug\nSteps: 9, Sampler: euler")
    record = json.loads(text[FARM_KEY])
    assert (record["recipe"], record["template"]) == ("fp32", "a red mug")
    assert Shot.from_dict(record["shot"]).id == record["id"]


@pytest.mark.parametrize(("name", "format_"), [("mug.png", "PNG"), ("mug.webp", "WEBP"), ("MUG.JPG", "JPEG")])
def test_the_ending_of_the_file_chooses_its_format(name: str, format_: str, farm: Farm) -> None:
    assert farm("render", "a red mug", "-o", name).code == 0

    with Image.open(name) as picture:
        assert picture.format == format_


def test_a_picture_without_a_name_takes_no_other_ones_place(farm: Farm) -> None:
    for _ in range(2):
        assert farm("render", "a red mug", "--seed", "7").code == 0

    assert sorted(path.name for path in Path().glob("*.png")) == [
        "shotfarm-demo-7-2.png",
        "shotfarm-demo-7.png",
    ]


def test_json_tells_what_was_rendered(farm: Farm) -> None:
    said = json.loads(farm("render", "a red mug", "--seed", "7", "--json").out)

    assert (said["file"], said["seed"], said["recipe"]) == ("shotfarm-demo-7.png", 7, "fp32")
    assert (said["width"], said["height"], said["load_s"], said["render_s"]) == (128, 128, 1, 2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--model", "shotfarm-dem"), "--model shotfarm-dem: unknown model `shotfarm-dem`: did you mean"),
        (("--lora", "blueprin@1"), "--lora blueprin@1: unknown LoRA `blueprin`: did you mean `blueprint`?"),
        (("--model", "sdxl", "--lora", "blueprint@1"), "--lora blueprint@1: "),
        (("--size", "large"), "--size large: "),
        (("--sampler", "eular"), "--sampler eular: "),
        (("--steps", "0"), "--steps 0: "),
        (("--out", "mug.gif"), "--out mug.gif: the name must end with .png"),
        (("--out", "no/mug.png"), "--out no/mug.png: the folder no does not exist"),
    ],
)
def test_what_cannot_be_rendered_is_refused_at_once(
    options: tuple[str, ...], sentence: str, farm: Farm, orders: list[RenderOrder]
) -> None:
    ran = farm("render", "a red mug", *options)

    assert (ran.code, sentence in ran.err, len(ran.err.splitlines())) == (2, True, 1), ran.err
    assert not orders


def test_a_prompt_that_the_model_does_not_read_whole_is_refused(
    farm: Farm, orders: list[RenderOrder]
) -> None:
    ran = farm("render", "mug " * 600)

    assert (ran.code, "shotfarm-demo reads 512" in ran.err) == (2, True)
    assert not orders


@pytest.mark.parametrize("end", [FitsNothing("the card is too small"), KeyboardInterrupt()])
def test_no_file_is_left_without_a_picture(
    end: BaseException, farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(order: RenderOrder, on_progress: OnProgress) -> Rendered:
        drawn(order, on_progress)
        raise end

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr("coordinator.cli.render.render_apart", render)
    monkeypatch.setattr("common.commandline.os._exit", leave)
    ran = farm("render", "a red mug", "-o", "mug.png")

    assert ran.code == (3 if isinstance(end, FitsNothing) else 130)
    assert not list(Path().iterdir())


def test_catalog_and_folders_are_those_of_the_settings(farm: Farm, orders: list[RenderOrder]) -> None:
    Path("models").mkdir()
    Path("mine.yaml").write_text("models: {mine: {like: shotfarm-demo, path: mine}}")
    Path("farm.yaml").write_text("catalogs: [mine.yaml]\nmodels: [models]")
    assert farm("render", "a red mug", "--model", "mine", "--models", "models").code == 0

    here = Path.cwd()
    assert orders[0].catalogs == (here / "mine.yaml",)
    assert orders[0].models == (here / "models", here / "models", here / ".farm" / "models")
    assert orders[0].cache == here / ".farm" / "model-cache"

"""Which card takes which shot."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.cards import REFERENCE_CARDS
from common.catalog import Catalog, Recipe, load_catalog
from common.chips import find_chip
from common.embeddings import encoder_dtypes
from common.fit import (
    HEADROOM,
    Fit,
    Misfit,
    Seen,
    fit,
    fits_class,
    fitting,
    forwards_per_step,
    peak_bytes,
    ram_bytes,
    smallest_class,
)
from common.nodes import VRAM_CLASSES, Card
from common.shot import LoraUse
from common.units import GIB
from tests.shots import shot_of

CATALOG = load_catalog()
TURBO = CATALOG.models["z-image-turbo"]
DEMO = CATALOG.models["shotfarm-demo"]
SDXL = CATALOG.models["sdxl"]
SQUARE = shot_of(TURBO)


def posing(card: Card) -> Card:
    """A CPU node that poses as a card."""
    return replace(card, backend="cpu", compute_capability=None)


def taken(answer: Fit | Misfit) -> Fit:
    assert isinstance(answer, Fit), answer
    return answer


def refused(answer: Fit | Misfit) -> str:
    assert isinstance(answer, Misfit), answer
    return answer.reason


@pytest.mark.parametrize(
    ("vram_class", "recipe", "low", "high", "passes"),
    [
        # GiB. The passes are those that docs/explanation/fit.md promises at least.
        (8, "gguf-q4-fp32", 4.5, 5.6, 1),
        (12, "int8", 7.5, 8.5, 4),
        (16, "bf16", 13.0, 14.0, 4),
        (24, "bf16", 13.0, 14.0, 12),
    ],
)
def test_z_image_turbo_at_a_megapixel_is_held_as_each_class_can(
    vram_class: int, recipe: str, low: float, high: float, passes: int
) -> None:
    found = taken(fits_class(SQUARE, TURBO, vram_class))
    assert found.recipe.name == recipe
    assert low * GIB < found.peak_bytes < high * GIB
    assert found.pass_size >= passes


def test_the_weights_that_are_counted_are_those_of_the_recipe() -> None:
    found = taken(fits_class(SQUARE, TURBO, 16))
    # 6.155 B and 0.084 B parameters of two bytes, one image of a megapixel decoded, half a GiB of workspace.
    weights = (6.155e9 + 0.084e9) * 2
    use = TURBO.activations
    assert found.peak_bytes == pytest.approx(weights + use.workspace + use.decode_per_mp * 1.048576, rel=1e-6)
    # The text encoder too passes through the machine's memory.
    assert ram_bytes(TURBO, found.recipe) == pytest.approx(weights + 4.022e9 * 2, rel=1e-6)


def test_an_old_card_gets_no_recipe_that_needs_bfloat16() -> None:
    old = replace(REFERENCE_CARDS[24], compute_capability=(6, 1))
    assert taken(fit(SQUARE, TURBO, old)).recipe.compute_dtype == "float32"


def test_a_card_below_every_recipe_is_told_what_it_lacks() -> None:
    ancient = replace(REFERENCE_CARDS[8], name="GTX 970", compute_capability=(5, 2))
    assert refused(fit(SQUARE, TURBO, ancient)) == (
        "z-image-turbo needs compute capability 6.0 or newer; GTX 970 has 5.2"
    )


@pytest.fixture(scope="module")
def without_gguf(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Z-Image and FLUX.1 as `farm models add` leaves them: fixed files, none of them GGUF."""
    file = tmp_path_factory.mktemp("farm") / "catalog.yaml"
    identity = f"sha256:{'ab' * 32}"
    file.write_text(
        f"models: {{z: {{like: z-image-turbo, identity: '{identity}'}}, "
        f"flux: {{like: flux1-dev, identity: '{identity}'}}}}"
    )
    return load_catalog([file])


def test_a_misfit_that_a_gguf_file_mends_says_so(without_gguf: Catalog) -> None:
    turbo, flux = without_gguf.models["z"], without_gguf.models["flux"]

    assert refused(fits_class(shot_of(turbo), turbo, 8)) == (
        "z needs compute capability 7.5 or newer; GTX 1070 has 6.1; "
        "a Q4 GGUF file mends it: `farm models add FILE.gguf --like z`"
    )
    assert refused(fits_class(shot_of(flux), flux, 12)).endswith(
        "no size fits; a Q4 GGUF file mends it: `farm models add FILE.gguf --like flux`"
    )
    named = CATALOG.models["z-image-turbo"], CATALOG.models["flux1-dev"]
    assert all(
        isinstance(fits_class(shot_of(m), m, size), Fit) for m, size in zip(named, (8, 12), strict=True)
    )


def test_a_misfit_that_no_gguf_file_mends_does_not_name_one(without_gguf: Catalog) -> None:
    turbo = without_gguf.models["z"]
    ancient = replace(REFERENCE_CARDS[8], name="GTX 970", compute_capability=(5, 2))

    for card, shot in (
        (ancient, shot_of(turbo)),
        (REFERENCE_CARDS[8], shot_of(turbo, width=16384, height=16384)),
    ):
        assert "GGUF" not in refused(fit(shot, turbo, card))


def test_a_cpu_takes_only_what_has_a_recipe_for_it() -> None:
    card = posing(REFERENCE_CARDS[24])
    assert taken(fit(shot_of(DEMO), DEMO, card)).recipe.name == "fp32"
    assert refused(fit(SQUARE, TURBO, card)) == "z-image-turbo has no recipe for cpu; it needs cuda"


def test_policy_keeps_a_model_from_smaller_cards_whatever_their_backend() -> None:
    kept = CATALOG.models["shotfarm-demo-24"]
    for vram_class, card in REFERENCE_CARDS.items():
        for each in (card, posing(card)):
            answer = fit(shot_of(kept), kept, each)
            assert isinstance(answer, Fit) == (vram_class >= 24)
    assert "kept for cards of 24 GB" in refused(fits_class(shot_of(kept), kept, 16))


def test_a_shot_that_is_too_large_is_told_what_it_needs_and_what_would_fit() -> None:
    huge = shot_of(TURBO, width=2048, height=2048)
    reason = refused(fits_class(huge, TURBO, 8))
    assert reason.startswith("needs ")
    assert "GiB at 2048×2048; GTX 1070 has 6.9 GiB to give; " in reason
    width, height = map(int, reason.split("; ")[2].split(" ")[0].split("×"))
    taken(fits_class(shot_of(TURBO, width=width, height=height), TURBO, 8))
    step = TURBO.family.size_multiple
    refused(fits_class(shot_of(TURBO, width=width + step, height=height + step), TURBO, 8))


def test_a_card_that_cannot_even_hold_the_weights_is_told_that_no_size_fits() -> None:
    tiny = replace(REFERENCE_CARDS[6], usable_bytes=2 * GIB)
    assert refused(fit(SQUARE, TURBO, tiny)).endswith("and no size fits")


def test_weights_that_become_fp8_are_read_in_16_bits_before_those_that_no_lora_can_change() -> None:
    klein = CATALOG.models["flux2-klein-4b"]
    large = replace(klein, components=klein.components | {"transformer": 20_000_000_000})
    assert ram_bytes(klein, klein.recipe("fp8-fp32")) == 4.022e9 * 2 + 3.876e9 + 0.084e9 * 4
    assert ram_bytes(large, klein.recipe("fp8-fp32")) == 20e9 * 2
    # A LoRA may change the text encoders of SDXL, so they are there when its U-Net is cast.
    assert ram_bytes(SDXL, SDXL.recipe("fp8-fp32")) == (0.123e9 + 0.695e9) * 4 + 2.567e9 * 2


def test_weights_need_room_in_the_machine_to_be_loaded() -> None:
    poor = replace(REFERENCE_CARDS[8], ram_bytes=4 * GIB)
    assert refused(fit(SQUARE, TURBO, poor)) == (
        "needs 11.0 GiB of host memory to load the weights; the machine of GTX 1070 has 4.0 GiB"
    )


def test_guidance_doubles_what_denoising_takes_where_the_family_says_so() -> None:
    recipe = SDXL.recipe("fp16")

    def denoising(guidance: float, images: int) -> int:
        return peak_bytes(shot_of(SDXL, guidance=guidance), SDXL, recipe, images)

    assert denoising(1.0, 12) == denoising(6.0, 6)


def test_a_sampler_that_runs_the_denoiser_twice_a_step_takes_the_time_of_two_and_the_memory_of_one() -> None:
    euler, heun = shot_of(SDXL, sampler="euler"), shot_of(SDXL, sampler="heun")
    assert forwards_per_step(heun, SDXL) == 2 * forwards_per_step(euler, SDXL) == 4
    for recipe in SDXL.recipes:
        assert peak_bytes(heun, SDXL, recipe, 4) == peak_bytes(euler, SDXL, recipe, 4)


def test_every_lora_takes_memory_of_its_own() -> None:
    recipe = TURBO.recipe("bf16")
    with_two = shot_of(TURBO, loras=(LoraUse("a", "", 1.0), LoraUse("b", "", 1.0)))
    extra = peak_bytes(with_two, TURBO, recipe) - peak_bytes(SQUARE, TURBO, recipe)
    assert extra == 2 * TURBO.activations.lora > 0


def test_the_smallest_class_is_the_first_that_takes_it() -> None:
    assert smallest_class(SQUARE, TURBO, [24, 8, 16]) == 8
    klein = CATALOG.models["flux2-klein-9b"]
    assert smallest_class(shot_of(klein), klein) == 12


def test_what_fits_nothing_is_told_in_the_words_of_the_largest_class() -> None:
    huge = shot_of(TURBO, width=16384, height=16384)
    answer = smallest_class(huge, TURBO)
    assert isinstance(answer, Misfit)
    assert REFERENCE_CARDS[32].name in answer.reason
    assert isinstance(smallest_class(SQUARE, TURBO, []), Misfit)


SIZES = st.integers(4, 256).map(lambda n: n * 16)


@given(
    name=st.sampled_from(sorted(CATALOG.models)),
    vram_class=st.sampled_from(VRAM_CLASSES),
    width=SIZES,
    height=SIZES,
    guidance=st.sampled_from([0.0, 1.0, 5.0]),
)
def test_what_fits_stays_below_the_card_and_whatever_is_smaller_fits_too(
    name: str, vram_class: int, width: int, height: int, guidance: float
) -> None:
    model = CATALOG.models[name]
    card = REFERENCE_CARDS[vram_class]
    shot = shot_of(model, width=width, height=height, guidance=guidance)
    found = fit(shot, model, card)
    if isinstance(found, Misfit):
        assert found.reason
        return
    assert found.peak_bytes <= found.pass_peak_bytes <= card.usable_bytes * (1 - HEADROOM)
    assert 1 <= found.pass_size <= 12
    assert isinstance(fit(shot._replace(width=64, height=64), model, card), Fit)
    roomier = replace(card, usable_bytes=card.usable_bytes * 2, vram_bytes=card.vram_bytes * 2)
    assert isinstance(fit(shot, model, roomier), Fit)


@pytest.mark.parametrize(
    ("paces", "recipe"),
    [
        ({}, "bf16"),
        ({"fp8": 1.0}, "bf16"),
        ({"bf16": 1.0}, "bf16"),
        ({"bf16": 1.0, "fp8": 0.97}, "bf16"),
        ({"bf16": 1.0, "fp8": 0.9}, "fp8"),
        ({"bf16": 1.0, "fp8": 0.9, "fp8-small": 0.5}, "fp8-small"),
        ({"bf16": 1.0, "fp8": 0.9, "gguf-q4-fp32": 0.1}, "fp8"),
    ],
)
def test_the_fastest_of_the_measured_recipes_that_fit_is_taken(paces: dict[str, float], recipe: str) -> None:
    seen = Seen(paces=paces, ceilings={"gguf-q4-fp32": 0})
    assert taken(fit(SQUARE, TURBO, REFERENCE_CARDS[24], seen)).recipe.name == recipe


def test_a_fast_recipe_that_does_not_fit_is_not_taken() -> None:
    seen = Seen(paces={"bf16": 0.1, "fp8": 1.0})
    assert taken(fit(SQUARE, TURBO, REFERENCE_CARDS[12], seen)).recipe.name != "bf16"


@pytest.mark.parametrize(("vram_class", "recipe"), [(6, "fp32-small"), (8, "fp32-small"), (12, "fp16")])
def test_sd15_renders_a_megapixel_on_small_cards_in_tiles(vram_class: int, recipe: str) -> None:
    model = CATALOG.models["sd15"]
    large = shot_of(model, width=1024, height=1024)
    assert taken(fits_class(large, model, vram_class)).recipe.name == recipe


@pytest.mark.parametrize(
    ("card", "name", "recipe"),
    [
        ("RTX 3050 6GB", "z-image-turbo", "gguf-q4-small"),
        ("RTX 3060 Ti", "z-image-turbo", "int8-small"),
        ("RTX 3060 Ti", "flux2-klein-9b", "gguf-q4-small"),
        ("GTX 1070", "flux2-klein-9b", "gguf-q4-fp32"),
        ("RTX 2060 6GB", "z-image-turbo", "gguf-q4-fp32"),
    ],
)
def test_small_cards_render_from_gguf_files_what_does_not_fit_in_8_bits(
    card: str, name: str, recipe: str
) -> None:
    chip = find_chip(card)
    assert chip is not None
    model = CATALOG.models[name]
    found = fit(shot_of(model), model, replace(chip.card(), ram_bytes=24 * GIB))
    assert taken(found).recipe.name == recipe


@pytest.mark.parametrize(
    ("card", "types"),
    [
        ("gtx-1660-super", {"float32", "fp8"}),
        ("NVIDIA GeForce GTX 1660 Ti with Max-Q Design", {"float32", "fp8"}),
        ("NVIDIA T1000 8GB", {"float32", "fp8"}),
        ("RTX 2070", {"float16", "float32"}),
        ("Quadro RTX 6000", {"float16", "float32"}),
    ],
)
def test_cards_whose_pictures_are_black_in_float16_do_without_it(card: str, types: set[str]) -> None:
    turing = replace(REFERENCE_CARDS[24], name=card, compute_capability=(7, 5))
    found = [
        taken(fit(shot_of(CATALOG.models[name]), CATALOG.models[name], turing)) for name in ("sd15", "sdxl")
    ]
    assert set().union(*(_types(one.recipe) for one in found)) == types


def _types(recipe: Recipe) -> set[str]:
    return {recipe.compute_dtype, *recipe.weights.values()}


def test_a_model_with_recipes_in_float16_alone_says_what_a_card_without_it_needs() -> None:
    only = replace(SDXL, recipes=SDXL.recipes[:2])
    reason = refused(fit(shot_of(SDXL), only, REFERENCE_CARDS[6]))
    assert reason == (
        "sdxl has no recipe without float16, in which pictures of GTX 1660 Super come out black; "
        "add one that computes in float32"
    )
    # Of those that are too old for it, the capability is told.
    assert "needs compute capability 7.0" in refused(fit(shot_of(SDXL), only, REFERENCE_CARDS[8]))


@pytest.mark.parametrize("name", ["z-image-turbo", "flux1-dev", "chroma1-hd", "flux2-klein-4b", "qwen-image"])
def test_a_card_of_turing_prefers_what_is_known_to_work_and_may_multiply_in_int8(name: str) -> None:
    model = CATALOG.models[name]
    turing = replace(REFERENCE_CARDS[24], name="Quadro RTX 6000", compute_capability=(7, 5))
    names = [one.recipe.name for one in fitting(shot_of(model), model, turing)]
    assert names[-1] == "int8-fp32"
    assert len(names) > 1
    pascal = replace(turing, name="Tesla P40", compute_capability=(6, 1))
    assert [one.recipe.name for one in fitting(shot_of(model), model, pascal)] == names[:-1]


def encoders_of(recipe: str) -> dict[str, str]:
    found = TURBO.recipe(recipe)
    return encoder_dtypes(found.weights, found.compute_dtype)


def test_a_machine_with_little_memory_takes_what_is_embedded() -> None:
    card = replace(REFERENCE_CARDS[8], ram_bytes=6 * GIB)
    assert "of host memory to load the weights" in refused(fit(SQUARE, TURBO, card))
    seen = Seen(embedded=encoders_of("gguf-q4-fp32"))
    without = taken(fit(SQUARE, TURBO, card, seen))
    assert (without.recipe.name, without.encodes) == ("gguf-q4-fp32", False)
    assert taken(fit(SQUARE, TURBO, REFERENCE_CARDS[8], seen)).encodes


def test_embeddings_of_another_precision_are_not_taken() -> None:
    card = replace(REFERENCE_CARDS[8], ram_bytes=6 * GIB)
    refused(fit(SQUARE, TURBO, card, Seen(embedded={"text_encoder": "float64"})))


@pytest.mark.parametrize("name", ["z-image-turbo", "flux1-dev", "sdxl"])
def test_no_card_needs_more_without_text_encoders(name: str) -> None:
    model = CATALOG.models[name]
    for recipe in model.recipes:
        shot = shot_of(model)
        assert ram_bytes(model, recipe, encodes=False) <= ram_bytes(model, recipe)
        assert peak_bytes(shot, model, recipe, encodes=False) <= peak_bytes(shot, model, recipe)

"""`upscale` in a manifest: what becomes of the shot, and what is said where it cannot be used."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from common.cards import REFERENCE_CARDS
from common.catalog import Catalog, License, Upscaler, load_catalog
from common.errors import InvalidDocument
from common.fit import Fit, Peak, Seen, fit, peak_bytes
from common.infotext import infotext
from common.manifest.parse import parse_manifest
from common.settings import Money
from common.shot import PlannedShot, Shot
from common.units import GIB
from common.work import work_of
from coordinator.estimate import Station, estimate
from coordinator.expand import expand
from tests.shots import shot_of

SHARP, FAST = "4x-sharp", "2x-fast"


def upscaler(name: str, scale: int, tflop_per_mp: float, *, commercial: bool = True) -> Upscaler:
    return Upscaler(
        name=name,
        architecture="ESRGAN",
        scale=scale,
        tflop_per_mp=tflop_per_mp,
        identity=f"sha256:{scale}{0:063}",
        path=f"{name}.safetensors",
        license=License(name="free" if commercial else "nc", commercial=commercial),
    )


@cache
def catalog() -> Catalog:
    known = (upscaler(SHARP, 4, 36.0), upscaler(FAST, 2, 1.0, commercial=False), upscaler("8x-huge", 8, 40.0))
    return replace(load_catalog(), upscalers={each.name: each for each in known})


def planned(settings: str, *, top: str = "", known: Catalog | None = None) -> list[PlannedShot]:
    known = known or catalog()
    manifest = f"version: 1\n{top}shots:\n- {{model: sdxl, prompt: a mug, {settings}}}\n"
    return list(expand(parse_manifest(manifest, source="m.yaml", files=None, catalog=known), known))


def shot(settings: str) -> Shot:
    return planned(settings)[0].shot


def refused(settings: str, *, top: str = "", known: Catalog | None = None) -> str:
    with pytest.raises(InvalidDocument) as caught:
        planned(settings, top=top, known=known)
    return str(caught.value)


PLAIN, LARGE = shot("size: 1024x768"), shot(f"size: 1024x768, upscale: {SHARP}")


def test_the_upscaler_is_part_of_the_shot_by_its_file() -> None:
    assert (LARGE.width, LARGE.height, LARGE.final_size) == (1024, 768, (4096, 3072))
    assert PLAIN.final_size == (1024, 768)
    assert LARGE.upscaler is not None
    assert LARGE.id != PLAIN.id
    assert LARGE._replace(upscaler=LARGE.upscaler._replace(name="other")).id == LARGE.id
    assert LARGE._replace(upscaler=LARGE.upscaler._replace(identity="sha256:1")).id != LARGE.id
    assert Shot.from_dict(LARGE.to_dict()) == LARGE
    assert "upscaler" not in PLAIN.to_dict()


def test_an_axis_compares_upscalers_with_none_of_them() -> None:
    found = planned(f"axes: {{upscale: [none, {SHARP}, {FAST}]}}, upscale: {FAST}")
    assert [one.shot.upscaler and one.shot.upscaler.name for one in found] == [None, SHARP, FAST]
    assert [one.name.rpartition("/")[2] for one in found] == ["0-0-none", f"1-0-{SHARP}", f"2-0-{FAST}"]
    assert planned("upscale: none", top=f"defaults: {{upscale: {SHARP}}}\n")[0].shot.upscaler is None
    rows = f"axes: {{of: [{{name: a, upscale: {SHARP}}}, {{name: b}}]}}"
    assert [one.shot.final_size[0] for one in planned(rows)] == [4096, 1024]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("4x-sharb", "m.yaml:3:41: shots[0].upscale: unknown upscaler `4x-sharb`: did you mean `4x-sharp`?"),
        ("esrgan", "unknown upscaler `esrgan`; known are `4x-sharp`, `2x-fast` and `8x-huge`"),
        ("3", "unknown upscaler `3`; add one with `farm models add FILE`, or write `output: {sizes: 3x}` to"),
        (
            "4x",
            "name one, such as `4x-sharp`, or write `output: {sizes: 4x}` to enlarge by Lanczos without a",
        ),
        ("x2", "name one, such as `2x-fast`, or write `output: {sizes: 2x}`"),
        (
            "lanczos",
            "unknown upscaler `lanczos`; name one, such as `4x-sharp`, or write `output: {sizes: 2x}",
        ),
        ("[4x-sharp, 2x-fast]", "to vary it, write `upscale: [4x-sharp, 2x-fast]` under `axes:`"),
    ],
)
def test_what_is_no_upscaler_is_told_with_what_to_write(value: str, said: str) -> None:
    assert said in refused(f"upscale: {value}")


def test_without_upscalers_the_command_that_adds_one_is_told() -> None:
    said = refused("upscale: esrgan", known=load_catalog())
    assert "unknown upscaler `esrgan`; add one with `farm models add FILE`" in said


def test_another_word_for_it_is_told() -> None:
    assert "unknown key `upscaler`; write `upscale: 4x-sharp`" in refused(f"upscaler: {SHARP}")


def test_what_is_wrong_with_its_file_is_told() -> None:
    known = replace(catalog(), judge_upscaler=lambda one: f"{one.name} is broken")
    assert f"upscaler `{SHARP}` cannot be used: {SHARP} is broken" in refused(
        f"upscale: {SHARP}", known=known
    )


def test_its_licence_counts() -> None:
    said = refused(f"upscale: {FAST}", top="use: commercial\n")
    assert f"upscaler `{FAST}` has the licence nc, which forbids commercial use" in said
    assert planned(f"upscale: {SHARP}", top="use: commercial\n")


def test_an_image_that_becomes_too_large_is_refused() -> None:
    said = refused("upscale: 8x-huge, size: 2048x2048")
    assert (
        "shots[0].upscale: `8x-huge` makes 16384×16384 of 2048×2048, and the limit is 64 megapixels; "
        "render at most 1, or use an upscaler of a smaller factor"
    ) in said


def test_sizes_are_those_of_the_upscaled_image() -> None:
    said = refused(f"upscale: {SHARP}", top="output: {sizes: [4x]}\n")
    assert "makes 16384×16384 of 4096×4096; the limit is 64 megapixels" in said
    warnings = [
        expand(parse_manifest(text, source="m.yaml", files=None, catalog=catalog()), catalog()).warnings
        for upscale in ("none", SHARP)
        for text in [
            "version: 1\noutput: {sizes: [2048x2048]}\n"
            f"shots: [{{model: sdxl, prompt: a mug, upscale: {upscale}}}]"
        ]
    ]
    assert [len(each) for each in warnings] == [1, 0]
    assert "an upscaler as `upscale`" in str(warnings[0][0].message)


def test_upscaling_takes_time_by_its_operations() -> None:
    model = catalog().models["sdxl"]
    plain, large, fast = (
        work_of(one, model) for one in (PLAIN, LARGE, shot(f"size: 1024x768, upscale: {FAST}"))
    )
    assert len({plain.key, large.key, fast.key}) == 3
    assert plain.amount < fast.amount < large.amount
    # Of SDXL's denoiser a run takes 2.567 billion × 2.4 TFLOP a megapixel; those of upscalers count twice.
    billions = model.components["unet"] / 1e9
    runs = (large.amount - plain.amount) / PLAIN.megapixels
    assert runs == pytest.approx(2 * 36 / (model.family.tflop_per_mp * billions))


def test_a_plan_counts_it_and_names_both_sizes() -> None:
    cards = [Station(card=card) for card in REFERENCE_CARDS.values()]
    shots = planned(f"axes: {{upscale: [none, {SHARP}]}}, size: 1024x1024")
    plain, large = estimate(shots, catalog(), cards, Money(), together=False).lines
    assert (plain.upscaler, large.upscaler) == ("", SHARP)
    assert (plain.final_width, large.final_width, large.width) == (1024, 4096, 1024)
    for without, with_it in zip(plain.takes, large.takes, strict=True):
        if without.seconds is not None and with_it.seconds is not None:
            assert without.seconds < with_it.seconds < 3 * without.seconds
            assert without.published == with_it.published


def test_upscaling_needs_room_for_its_smallest_tile_beside_the_model() -> None:
    model = catalog().models["sd15"]
    small = shot_of(model, width=64, height=64)
    large = small._replace(upscaler=LARGE.upscaler)
    recipe = model.recipes[0]
    assert peak_bytes(large, model, recipe) - peak_bytes(small, model, recipe) > GIB / 2
    assert peak_bytes(large, model, recipe, 1) == peak_bytes(large, model, recipe, 12)
    # What a larger pass was measured to hold says nothing of it.
    seen = Seen(peaks={recipe.name: Peak(1, 1)})
    found = fit(large, model, REFERENCE_CARDS[24], seen)
    assert isinstance(found, Fit)
    assert found.peak_bytes == peak_bytes(large, model, recipe)


def test_other_programs_read_the_upscaler_in_the_image() -> None:
    text = infotext(LARGE, version="v")
    assert "Size: 1024x768" in text
    assert "Postprocess upscale by: 4, Postprocess upscaler: 4x-sharp, Version: v" in text
    assert "Postprocess" not in infotext(PLAIN, version="v")

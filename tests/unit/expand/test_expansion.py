"""The expansion as a whole: lazy, pure, counted before it is built, with ids that mean content."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.catalog import Catalog
from common.errors import InvalidDocument
from common.manifest.model import (
    NOTHING,
    Axis,
    Group,
    Limits,
    LoraRef,
    Manifest,
    Output,
    Seeds,
    ShotFields,
    Size,
)
from coordinator.expand import expand, take_census
from tests.unit.expand.making import catalog, expanded, group, refused, warned

PROMPTS = st.sampled_from(
    ["a cat", "{a}", "{a} {x|y}", "{2$$p|q|r}, {b}", "__w__ {trigger}", "{a|{b}|__w__}", "{c.index}"]
)
VALUES = st.lists(st.sampled_from(["oak", "{u|v}", "__w__", "sea"]), min_size=1, max_size=3, unique=True)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    def axis(name: str) -> Axis:
        values = tuple(draw(VALUES))
        sets = tuple(
            draw(st.sampled_from([NOTHING, ShotFields(steps=5), ShotFields(loras=(ANA,))])) for _ in values
        )
        return Axis(values=values, sets=sets, expand=draw(st.booleans()))

    def one(name: str) -> Group:
        axes = {each: axis(each) for each in "abc"}
        return Group(
            name=name,
            prompt=draw(PROMPTS),
            negative=draw(st.sampled_from([None, "{n|m}"])),
            model="z-image-turbo",
            axes=axes,
            seeds=draw(SEEDS),
            variants=draw(st.sampled_from([None, "random", "combinatorial"])),
            exclude=draw(st.sampled_from([(), ({"a": axes["a"].values[0], "b": axes["b"].values[-1]},)]))
            if len(axes["a"].values) > 1
            else (),
        )

    return Manifest(
        version=1,
        random_seed=draw(st.integers(0, 3)),
        shots=tuple(one(name) for name in draw(st.sampled_from(["g", "gh"]))),
        wildcards={"w": ("one", "{two|three}")},
        output=Output(name=draw(st.sampled_from([None, "{a}/{seed}"]))),
        limits=Limits(max_images=10**9),
    )


ANA = LoraRef(name="ana", weight=0.5)
SEEDS = st.builds(
    Seeds,
    start=st.integers(0, 5),
    count=st.integers(1, 3),
    mode=st.sampled_from(["fixed", "increment", "random"]),
) | st.just(Seeds(values=(3, 9)))


@settings(max_examples=40)
@given(manifests())
def test_length_iteration_indexing_and_slicing_agree(manifest: Manifest) -> None:
    found = expand(manifest, catalog())
    shots = list(found)
    assert len(found) == len(shots) == sum(len(group) for group in found.groups)
    assert [found[number] for number in range(len(found))] == shots
    assert found[1:-1] == shots[1:-1]
    assert found[::-3] == shots[::-3]
    assert found[-1:] == shots[-1:]


@settings(max_examples=40)
@given(manifests())
def test_the_same_manifest_is_the_same_shots(manifest: Manifest) -> None:
    assert list(expand(manifest, catalog())) == list(expand(manifest.model_copy(deep=True), catalog()))


@settings(max_examples=40)
@given(manifests())
def test_every_id_is_the_id_of_its_shot_and_ignores_names_and_groups_without_draws(
    manifest: Manifest,
) -> None:
    found = list(expand(manifest, catalog()))
    assert all(planned.id == planned.shot.id for planned in found)
    renamed = manifest.model_copy(update={"name": "other", "output": Output(name="{index}"), "priority": 9})
    assert [planned.id for planned in expand(renamed, catalog())] == [planned.id for planned in found]


@settings(max_examples=40)
@given(manifests())
def test_a_census_counts_what_differs(manifest: Manifest) -> None:
    found = expand(manifest, catalog())
    census = take_census(found)
    assert census.shots == len(found)
    assert census.distinct == len({planned.id for planned in found})


def test_an_index_outside_raises() -> None:
    found = expanded(group("seeds: 3"))
    with pytest.raises(IndexError):
        found[3]
    assert found[-1].shot.seed == 2


def test_nothing_is_built_before_it_is_asked_for() -> None:
    axes = "axes: {a: {from: 1, to: 1000}, b: {from: 1, to: 1000}, c: {from: 1, to: 1000}}"
    found = expanded(group(axes, prompt="'{a} {b} {c}'", top="limits: {max_images: 1000000000}"))
    assert len(found) == 10**9
    assert found[10**9 - 1].shot.prompt == "1000 1000 1000"
    assert [planned.shot.prompt for planned in islice(found, 2)] == ["1 1 1", "1 1 2"]


def test_a_long_range_is_reached_at_any_value_and_has_an_end() -> None:
    top = "limits: {max_images: 1000000000}"
    found = expanded(group("axes: {a: {from: 1, to: 100000}}", prompt="'{a}'", top=top))
    assert found[-1].shot.prompt == "100000"
    (problem,) = refused(group("axes: {a: {from: 1, to: 2000000}}", prompt="'{a}'", top=top))
    assert "has 2,000,000 values, and one axis holds 1,000,000; part it into two axes" in problem


def test_a_billion_combinations_are_counted_without_walking_them() -> None:
    axes = "axes: {a: {from: 1, to: 1000}, b: {from: 1, to: 1000}, c: {from: 1, to: 999}}"
    lines = axes, "exclude: [{a: 7, b: 9}, {c: 1}]", "include: [{a: 7, steps: 3}]"
    found = expanded(group(*lines, prompt="'{a} {b} {c}'", top="limits: {max_images: 1000000000}"))
    assert len(found) == (1000 * 1000 - 1) * 998
    assert [found[number].shot.prompt for number in (0, 997, 998, -1)] == [
        "1 1 2",
        "1 1 999",
        "1 2 2",
        "1000 1000 999",
    ]
    excluded = 6 * 1000 * 998 + 8 * 998
    assert [found[number].shot.prompt for number in (excluded - 1, excluded)] == ["7 8 999", "7 10 2"]
    assert [found[number].shot.steps == 3 for number in (0, excluded)] == [False, True]


def test_a_product_over_the_limit_is_refused_with_the_number_it_would_have_been() -> None:
    axes = "axes: {a: {from: 1, to: 10000}, b: {from: 1, to: 10000}, c: {from: 1, to: 10000}}"
    (problem,) = refused(group(axes))
    assert "asks for 1,000,000,000,000 images, more than `limits.max_images` (10,000)" in problem
    assert "group `g` multiplies 10,000 a × 10,000 b × 10,000 c × 1 seed" in problem


@pytest.mark.parametrize(
    ("lines", "prompt", "images"),
    [
        (["seeds: 10001"], "x", "10,001"),
        (["variants: combinatorial"], f"'{'{a|b}' * 40}'", f"{2**40:,}"),
        (["axes: {a: {from: 1, to: 200}, b: {from: 1, to: 200}}", "exclude: [{a: 1}]"], "x", "40,000"),
        (["axes: {a: {from: 1, to: 10000}}", "include: [{a: new}]"], "x", "10,001"),
        (
            ["variants: combinatorial", "axes: {a: [x, y]}", "exclude: [{a: x}]"],
            f"'{'{a|b}' * 13}'",
            "16,384",
        ),
    ],
)
def test_the_limit_counts_seeds_variants_includes_and_what_is_excluded(
    lines: list[str], prompt: str, images: str
) -> None:
    (problem,) = refused(group(*lines, prompt=prompt))
    assert f"asks for {images} images" in problem


def test_a_refusal_names_what_include_adds() -> None:
    (problem,) = refused(group("axes: {a: {from: 1, to: 10000}}", "include: [{a: new}]"))
    assert "multiplies 10,000 a × 1 seed, and `include` adds 1" in problem


def test_what_is_zipped_is_one_factor_of_a_refused_product() -> None:
    lines = "axes: {a: {from: 1, to: 9000}, b: {from: 1, to: 9000}}", "zip: [[a, b]]", "seeds: 2"
    (problem,) = refused(group(*lines, "variants: combinatorial"))
    assert "asks for 18,000 images" in problem
    assert "group `g` multiplies 9,000 a+b × 2 seeds × variants" in problem


def test_the_limit_counts_all_groups_together() -> None:
    second = "\n- {name: h, model: sdxl, prompt: x, seeds: 6000}"
    (problem,) = refused(group("seeds: 6001") + second)
    assert "asks for 12,001 images" in problem
    assert "group `g`" in problem


def test_the_same_shot_in_two_manifests_has_one_id() -> None:
    one = expanded(group("axes: {bg: [oak, sea]}", "steps: 9", prompt="'a cat on {bg}'"))
    other = "output: {name: '{seed}'}\npriority: 90\nname: other"
    two = expanded(group("steps: 9", prompt="a cat on sea", top=other).replace("name: g", "name: z"))
    assert two[0].id == one[1].id
    assert two[0].name != one[1].name


def test_a_private_lane_is_a_realm_of_its_own() -> None:
    public, private = expanded(group())[0], expanded(group(top="lane: studio"))[0]
    assert (public.shot.realm, private.shot.realm) == ("", "studio")
    assert public.id != private.id
    assert expanded(group(top="lane: public"))[0].id == public.id


def test_what_the_manifest_does_not_say_comes_from_the_catalog() -> None:
    model = catalog().models["sdxl"]
    shot = expanded(group(model="sdxl"))[0].shot
    assert (shot.steps, shot.guidance, shot.sampler) == (model.steps, model.guidance, model.sampler)
    assert (shot.width, shot.height) == model.size
    assert (shot.format, shot.quality, shot.metadata) == ("png", 0, True)


@pytest.mark.parametrize(
    ("output", "quality"), [("webp", 90), ("jpeg", 92), ("png, quality: 5", 0), ("webp, quality: 5", 5)]
)
def test_each_format_has_its_own_quality(output: str, quality: int) -> None:
    assert expanded(group(top=f"output: {{format: {output}}}"))[0].shot.quality == quality


@pytest.mark.parametrize(
    ("size", "pixels"),
    [
        ("832x1216", (832, 1216)),
        ("1000x1000", (1008, 1008)),
        ("{aspect: 1:1, megapixels: 1}", (1024, 1024)),
        ("{aspect: 2:3, megapixels: 1}", (832, 1248)),
        ("{aspect: 16:9}", (1360, 768)),
        ("{megapixels: 0.25}", (512, 512)),
        ("17x23", (16, 16)),
    ],
)
def test_sizes_are_rounded_to_what_the_family_takes(size: str, pixels: tuple[int, int]) -> None:
    shot = expanded(group(f"size: {size}"))[0].shot
    assert (shot.width, shot.height) == pixels


def test_a_rounded_size_is_said_once_for_a_group() -> None:
    lines = "axes: {guidance: [0, 1], steps: [4, 5]}", "size: 1000x1000"
    assert warned(group(*lines)) == [
        "m.yaml:7:9: shots[0].size: 1000x1000 becomes 1008x1008 (z-image takes multiples of 16)"
    ]
    assert warned(group("size: 1024x1024")) == []


def test_a_lora_for_the_sister_model_is_doubtful_and_one_for_another_base_is_wrong() -> None:
    (warning,) = warned(group("loras: [ana]", model="z-image"))
    assert "LoRA `ana` was made for `z-image-turbo`; on `z-image` it may work less well" in warning
    for model in ("sdxl", "flux2-klein-4b"):
        (problem,) = refused(group("loras: [ana]", model=model))
        assert f"LoRA `ana` was made for `z-image-turbo` and cannot work on `{model}`" in problem
    (problem,) = refused(group("loras: [small]", model="flux2-klein-9b"))
    assert "cannot work on `flux2-klein-9b`" in problem


def test_what_does_not_go_together_is_no_mistake_where_it_is_excluded() -> None:
    axes = (
        "axes: {model: [sdxl, z-image-turbo], style: [{name: a, loras: [poster]}, {name: b, loras: [ana]}]}"
    )
    exclude = "exclude: [{model: sdxl, style.name: b}, {model: z-image-turbo, style.name: a}]"
    assert len(refused(group(axes, model="sdxl"))) == 2
    assert [planned.shot.model for planned in expanded(group(axes, exclude, model="sdxl"))] == [
        "sdxl",
        "z-image-turbo",
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("model: z-imag", "unknown model `z-imag`: did you mean `z-image`?"),
        ("loras: [anna]", "unknown LoRA `anna`: did you mean `ana`?"),
        ("sampler: eula", "has no sampler `eula`"),
        ("blind_steps: 9", "`blind_steps` of `z-image-turbo` must be 0 to 2"),
    ],
)
def test_what_the_catalog_does_not_have_is_named_with_its_place(line: str, words: str) -> None:
    manifest = group(line) if not line.startswith("model") else group(model=line.removeprefix("model: "))
    (problem,) = refused(manifest)
    assert problem.startswith(f"m.yaml:{4 if line.startswith('model') else 6}:")
    assert words in problem


def test_a_setting_that_a_family_does_not_have_is_refused() -> None:
    (problem,) = refused(group("shift: 3", model="sdxl"))
    assert "`sdxl` does not take `shift`" in problem


def test_a_group_of_which_exclude_leaves_nothing_is_refused() -> None:
    (problem,) = refused(group("axes: {a: [x]}", "exclude: [{a: x}]"))
    assert "shots[0].exclude: leaves nothing of this group; exclude less" in problem


def test_a_plain_manifest_expands_without_the_text_it_came_from() -> None:
    manifest = Manifest(
        version=1, shots=(Group(name="g", prompt="{x", model="sdxl", size=Size(width=512, height=512)),)
    )
    with pytest.raises(InvalidDocument, match=r"manifest: shots\[0\].prompt: .* never closed"):
        expand(manifest, catalog())


def test_models_and_loras_without_a_fixed_identity_are_named() -> None:
    known = catalog()
    model, lora = known.models["z-image-turbo"], known.loras["ana"]
    manifest = Manifest(version=1, shots=(Group(name="g", prompt="x", model=model.name, loras=(ANA,)),))

    def unidentified(model_identity: str | None, lora_identity: str | None) -> tuple[str, ...]:
        models = {model.name: replace(model, identity=model_identity)}
        loras = {lora.name: replace(lora, identity=lora_identity)}
        return expand(manifest, Catalog(models=models, loras=loras)).unidentified

    assert unidentified("sha256:1", "sha256:2") == ()
    assert unidentified("sha256:1", None) == ("ana",)
    assert unidentified(None, None) == ("z-image-turbo", "ana")

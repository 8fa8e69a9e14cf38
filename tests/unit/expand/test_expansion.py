"""The expansion as a whole: lazy, pure, counted before it is built, with ids that mean content."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from tests.unit.expand.making import catalog, expanded, group

ANA = LoraRef(name="ana", weight=0.5)
PROMPTS = st.sampled_from(
    ["a cat", "{a}", "{a} {x|y}", "{2$$p|q|r}, {b}", "__w__ {trigger}", "{a|{b}|__w__}", "{c.index}"]
)
VALUES = st.lists(st.sampled_from(["oak", "{u|v}", "__w__", "sea"]), min_size=1, max_size=3, unique=True)
SEEDS = st.builds(
    Seeds,
    start=st.integers(0, 5),
    count=st.integers(1, 3),
    mode=st.sampled_from(["fixed", "increment", "random"]),
) | st.just(Seeds(values=(3, 9)))


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
    # What a name mentions is drawn for it.
    output = Output(name=f"other-{manifest.output.name or ''}-{{index}}")
    renamed = manifest.model_copy(update={"name": "other", "output": output, "priority": 9})
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


def test_a_plain_manifest_expands_without_the_text_it_came_from() -> None:
    manifest = Manifest(
        version=1, shots=(Group(name="g", prompt="{x", model="sdxl", size=Size(width=512, height=512)),)
    )
    with pytest.raises(InvalidDocument, match=r"manifest: shots\[0\].prompt: .* never closed"):
        expand(manifest, catalog())

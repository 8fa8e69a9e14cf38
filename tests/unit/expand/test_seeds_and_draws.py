"""Seeds, variants, and the purity of every draw."""

from __future__ import annotations

import pytest

from coordinator.expand.draws import Draws
from tests.unit.expand.making import expanded, group, prompts


def seeds(*lines: str, prompt: str = "a cat", random_seed: int | None = None) -> list[int]:
    found = expanded(group(*lines, prompt=prompt), random_seed=random_seed)
    return [planned.shot.seed for planned in found]


TWO = "axes: {bg: [oak, white]}"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("seeds: 3", [0, 1, 2, 0, 1, 2]),
        ("seeds: [11, 7]", [11, 7, 11, 7]),
        ("seeds: {start: 100, count: 2}", [100, 101, 100, 101]),
        ("seeds: {start: 5, count: 2, mode: increment}", [5, 6, 7, 8]),
        ("steps: 4", [0, 0]),
    ],
)
def test_seeds_are_counted_listed_or_run_on_anew_in_every_group(written: str, expected: list[int]) -> None:
    second = f"\n- {{name: h, model: z-image-turbo, prompt: a dog, {written}}}"
    found = [planned.shot.seed for planned in expanded(group(TWO, written) + second)]
    assert found == expected + expected[: len(expected) // 2]


EPOCH = "axes: {epoch: {values: ['__epoch__'], expand: true}}"
EPOCHS = "wildcards: {epoch: [Gothic, 1920s, '{early|late} Baroque'], w: ['{a|b}'], ab: [a, b]}"


@pytest.mark.parametrize(
    ("lines", "prompt", "number"),
    [
        ([TWO, "seeds: {count: 50, mode: random}"], "{bg}", 100),
        (["variants: combinatorial", "seeds: {count: 5, mode: random}"], "{a|b|c}", 15),
        # Only the negative draws.
        (
            [EPOCH, "negative: '{epoch}'", "variants: combinatorial", "seeds: {count: 3, mode: random}"],
            "a house",
            12,
        ),
    ],
)
def test_random_seeds_differ_per_shot_and_stay_below_two_to_the_32(
    lines: list[str], prompt: str, number: int
) -> None:
    found = expanded(group(*lines, prompt=f"'{prompt}'", top=EPOCHS, model="z-image"))
    seeds = {planned.shot.seed for planned in found}
    assert len(seeds) == len(found) == number
    assert all(0 <= seed < 2**32 for seed in seeds)


@pytest.mark.parametrize(
    ("lines", "prompt", "number"),
    [
        # Each place of a prompt.
        (["seeds: 200"], "{a|b} {a|b} __ab__ __ab__", 16),
        # Variants inside wildcards and expanding values.
        (["axes: {x: {values: ['{a|b}'], expand: true}}", "seeds: 200"], "{a|b} __w__ {x}", 8),
        # The negative prompt.
        (["seeds: 40", "negative: '{a|b}'"], "{a|b}", 4),
        # Values that are equal in two axes.
        (
            [
                "axes: {a: {values: ['{x|y}'], expand: true}, b: {values: ['{x|y}'], expand: true}}",
                "seeds: 60",
            ],
            "{a}{b}",
            4,
        ),
    ],
)
def test_what_stands_in_two_places_is_drawn_for_each(lines: list[str], prompt: str, number: int) -> None:
    found = expanded(group(*lines, prompt=f"'{prompt}'", top=EPOCHS, model="z-image"))
    assert len({(planned.shot.prompt, planned.shot.negative) for planned in found}) == number


def test_random_seeds_and_draws_follow_the_random_seed_and_the_group_alone() -> None:
    lines = "seeds: {count: 8, mode: random}"
    text = "'{a|b|c|d} {e|f|g|h}'"

    def both(manifest: str, random_seed: int) -> list[tuple[int, str]]:
        return [(s.shot.seed, s.shot.prompt) for s in expanded(manifest, random_seed=random_seed)]

    written = group(lines, prompt=text)
    assert both(written, 1) == both(written, 1)
    assert both(written, 1) != both(written, 2)
    assert both(written, 1) != both(written.replace("name: g", "name: h"), 1)
    assert (
        both(written, 1) == both(f"{group(lines, prompt=text)}\n- {{name: z, model: sdxl, prompt: x}}", 1)[:8]
    )


def test_the_manifest_gives_the_random_seed_that_a_reroll_replaces() -> None:
    written = group("seeds: 20", prompt="'{a|b|c}'", top="random_seed: 5")
    assert prompts(written) == prompts(group("seeds: 20", prompt="'{a|b|c}'"), random_seed=5)
    assert prompts(written) != prompts(written, random_seed=6)
    assert expanded(written).random_seed == 5
    assert expanded(written, random_seed=6).random_seed == 6


def test_axes_that_the_prompt_does_not_mention_keep_the_same_draw() -> None:
    lines = "axes: {steps: [4, 8, 9], who: [ana, bo]}", "seeds: {count: 10, mode: random}"
    found = expanded(group(*lines, prompt="'{who} {a|b|c|d}'"))
    of_steps: dict[int, list[tuple[str, int]]] = {}
    for planned in found:
        of_steps.setdefault(planned.shot.steps, []).append((planned.shot.prompt, planned.shot.seed))
    assert of_steps[4] == of_steps[8] == of_steps[9]


def test_axes_that_the_prompt_mentions_have_draws_of_their_own() -> None:
    found = prompts(group("axes: {who: [ana, bo]}", "seeds: 30", prompt="'{who} {a|b|c|d}'"))
    moods = [text.split()[1] for text in found]
    assert moods[:30] != moods[30:]


def test_adding_an_axis_value_changes_no_draw_of_the_others() -> None:
    text = "'{who} {a|b|c|d}'"
    before = prompts(group("axes: {who: [ana, bo]}", "seeds: 10", prompt=text))
    after = prompts(group("axes: {who: [zoe, ana, bo]}", "seeds: 10", prompt=text))
    assert after[10:] == before


def test_draws_and_random_seeds_never_change_between_versions() -> None:
    draws = Draws(7, "hero", 2, ["{scene}=on a quay"])
    assert draws.uniform("prompt/12") == 0.22985813825357537
    assert draws.seed("seed/0") == 1314352002


def test_combinatorial_variants_multiply() -> None:
    lines = "variants: combinatorial", "seeds: 2", TWO
    found = expanded(group(*lines, prompt="'{bg} {a|b} __w__'", top="wildcards: {w: [x, y, z]}"))
    counts = found.groups[0]
    assert (counts.combinations, counts.variants, counts.seeds, len(counts)) == (2, 6, 2, 24)
    assert [planned.shot.prompt for planned in found][:4] == ["oak a x", "oak a x", "oak a y", "oak a y"]
    assert len({(planned.shot.prompt, planned.shot.seed) for planned in found}) == 24


def test_combinatorial_variants_of_the_negative_multiply_too() -> None:
    lines = "variants: combinatorial", "negative: '{x|y}'"
    found = expanded(group(*lines, prompt="'{a|b}'", model="z-image"))
    assert [(planned.shot.prompt, planned.shot.negative) for planned in found] == [
        ("a", "x"),
        ("a", "y"),
        ("b", "x"),
        ("b", "y"),
    ]


def test_combinations_may_have_different_numbers_of_variants() -> None:
    lines = (
        "variants: combinatorial",
        "axes: {p: {values: ['{a|b|c}', d, '{e|f}'], expand: true}}",
        "seeds: 2",
    )
    found = expanded(group(*lines, prompt="'{p}'"))
    texts = [planned.shot.prompt for planned in found]
    assert texts == [letter for letter in "abcdef" for _ in range(2)]
    assert [found[number].shot.prompt for number in range(12)] == texts
    assert found.groups[0].variants == 3


def test_without_variants_random_and_combinatorial_are_the_same() -> None:
    assert [s.id for s in expanded(group(TWO, "variants: combinatorial"))] == [
        s.id for s in expanded(group(TWO))
    ]


@pytest.mark.parametrize("variants", ["random", "combinatorial"])
def test_a_value_is_drawn_once_a_shot_for_prompt_negative_and_name(variants: str) -> None:
    top = f"{EPOCHS}\noutput: {{name: '{{epoch}}-{{seed}}'}}"
    lines = EPOCH, "negative: 'no {epoch} {x|y}'", "seeds: 40", f"variants: {variants}"
    found = expanded(group(*lines, prompt="'{epoch} house, {epoch} {garden|yard}'", top=top, model="z-image"))
    seen = set()
    for planned in found:
        epoch = planned.name.partition("-")[0]
        seen.add(epoch)
        assert planned.shot.prompt in (f"{epoch} house, {epoch} garden", f"{epoch} house, {epoch} yard")
        assert planned.shot.negative in (f"no {epoch} x", f"no {epoch} y")
    assert seen == {"Gothic", "1920s", "early Baroque", "late Baroque"}
    assert len(found) == (40 if variants == "random" else 4 * 2 * 2 * 40)


@pytest.mark.parametrize("prompt", ["a house", "{epoch}, {epoch}, {epoch}", "{epoch} {{epoch}|a}"])
@pytest.mark.parametrize("negative", ["", "no {epoch} or {epoch.name}"])
@pytest.mark.parametrize("name", ["{index}", "{epoch}-{index}"])
def test_a_drawn_value_multiplies_once_wherever_it_is_mentioned(
    prompt: str, negative: str, name: str
) -> None:
    top = f"{EPOCHS}\noutput: {{name: '{name}'}}"
    lines = EPOCH, f"negative: '{negative}'", "variants: combinatorial"
    found = expanded(group(*lines, prompt=f"'{prompt}'", top=top, model="z-image"))
    mentioned = "epoch" in prompt + negative + name
    assert len(found) == (4 if mentioned else 1) * (2 if "|" in prompt else 1)
    texts = [(shot.shot.prompt, shot.shot.negative, shot.name.partition("-")[0]) for shot in found]
    assert len(set(texts)) == len(found)


def test_each_field_of_a_value_is_drawn_for_itself() -> None:
    axes = "axes: {who: {values: [{name: ana, hair: '{red|dark}', eyes: '{red|dark}'}], expand: true}}"
    found = prompts(group(axes, "seeds: 60", prompt="'{who}: {who.hair} hair, {who.eyes} eyes, {who.hair}'"))
    assert len(set(found)) == 4
    assert {text.partition(",")[0].split()[1] == text.rpartition(" ")[2] for text in found} == {True}


def test_an_axis_that_no_prompt_mentions_keeps_the_draws_of_values() -> None:
    axes = "axes: {steps: [4, 5], epoch: {values: ['__epoch__'], expand: true}}"
    found = prompts(group(axes, "seeds: 20", prompt="'{epoch}'", top=EPOCHS))
    assert found[:20] == found[20:]
    assert len(set(found)) > 1


def test_rows_that_set_their_prompts_have_random_seeds_of_their_own() -> None:
    rows = "axes: {row: [{name: a, prompt: a cat}, {name: b, prompt: a dog}, {name: c, prompt: a cat}]}"
    found = expanded(group(rows, "seeds: {count: 2, mode: random}", prompt=""))
    seeds = [planned.shot.seed for planned in found]
    assert len(set(seeds[:4])) == 4
    assert seeds[4:] == seeds[:2]


def test_rows_that_set_their_prompts_draw_for_themselves_and_alike_in_every_style() -> None:
    axes = """\
    axes:
      row: [{name: a, prompt: 'a {1|2|3|4|5|6|7|8|9} x'}, {name: b, prompt: 'b {1|2|3|4|5|6|7|8|9} x'}]
      style: [{name: plain}, {name: film, prompt: 'film, {prompt}'}]
    """
    texts = [planned.shot.prompt for planned in expanded(group(axes, "seeds: 20", prompt=""))]
    plain, film, other = texts[:20], texts[20:40], texts[40:60]
    assert film == [f"film, {text}" for text in plain]
    assert [text[2:] for text in plain] != [text[2:] for text in other]

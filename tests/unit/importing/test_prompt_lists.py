"""Prompt lists of other programs, a prompt a line."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.importing.imported import UnusableSource
from tests.unit.importing import making
from tests.unit.importing.making import fields, imported
from tests.unit.test_textual_inversions import inversion


@pytest.mark.parametrize(
    ("text", "wanted", "left"),
    [
        # A1111: flags set fields and successive seeds.
        (
            '--prompt "a mug, \\"hot\\"" --negative_prompt "blurry" --steps 20 --cfg_scale 7 --width 512 '
            '--height 768 --seed 42 --sampler_name "Euler a" --n_iter 2 --batch_size 2\n',
            [
                {"prompt": 'a mug, "hot"', "negative": "blurry", "steps": 20, "guidance": 7.0, "seed": 42},
                {"width": 512, "height": 768, "model": "sd15", "sampler": "euler_a", "seed": 43},
                {"seed": 44},
                {"seed": 45},
            ],
            {},
        ),
        # Values without quotes go on to the next flag; an apostrophe is none.
        (
            "--prompt a lamp on a table --steps 30 --foo bar --restore_faces\n--prompt a key --steps=12\n",
            [{"prompt": "a lamp on a table", "steps": 30}, {"prompt": "a key", "steps": 12}],
            {"--foo: bar": "the farm does not have this setting", "--restore_faces: true": ""},
        ),
        ("--prompt a dog's bed --steps 9", [{"prompt": "a dog's bed"}], {}),
        ("--prompt 'a dog' --steps 9", [{"prompt": "a dog"}], {}),
        (
            "--prompt a --seed 18446744073709551615",
            [{"prompt": "a"}],
            {"--seed: 18446744073709551615": "random one"},
        ),
        # Kohya.
        (
            "# a comment\na cat --n blurry, bad --w 512 --h 768 --d 42 --s 20 --l 7.5 --am 0.8\n\n"
            "a dog --d 1 --l 7.5\n",
            [
                {"prompt": "a cat", "negative": "blurry, bad", "seed": 42, "steps": 20, "guidance": 7.5}
                | {"width": 512, "height": 768},
                {"prompt": "a dog", "negative": "", "seed": 1},
            ],
            {"--am 0.8": "", "# a comment": ""},
        ),
        # Midjourney: ratios and negatives.
        (
            "/imagine prompt: a cat --ar 2:3 --s 250 --no people, cars\na dog --ar 16:9 --v 6\n",
            [
                {"prompt": "a cat", "negative": "people, cars", "width": 832, "height": 1248},
                {"prompt": "a dog", "width": 1360, "height": 768},
            ],
            {"--s 250": "", "--v 6": ""},
        ),
        # InvokeAI: weights are text, and brackets its negative.
        (
            "a cat++ on a (roof)1.3 [blurry, ugly]\na dog\n",
            [
                {"prompt": "a cat++ on a (roof)1.3", "negative": "blurry, ugly"},
                {"prompt": "a dog", "negative": ""},
            ],
            {"`(roof)1.3`": "kept as text"},
        ),
        # Plain lines.
        (
            "a mug\r\n\r\na lamp {on} a table\rthe last",
            [{"prompt": "a mug"}, {"prompt": "a lamp {on} a table"}, {"prompt": "the last"}],
            {},
        ),
    ],
)
def test_a_list_of_another_program_gives_these_shots_and_what_is_left_is_told(
    text: str, wanted: list[dict[str, Any]], left: dict[str, str]
) -> None:
    found = imported(text)
    assert fields(found, wanted) == wanted
    assert {what for what in found.left if what.startswith(("-", "#", "`("))} == set(left)
    assert [what for what, why in left.items() if why not in found.left[what]] == []


def test_prompts_with_a_mixture_of_settings_share_a_group_and_name_what_differs() -> None:
    text = "\n".join(
        f'--prompt "mug {number}" --steps {20 + number % 2} --seed {number}' for number in range(300)
    )
    found = imported(text, "many.txt")
    assert len(found.document["shots"]) == 1
    assert [(shot.prompt, shot.steps, shot.seed) for shot in found.shots][::150] == [
        ("mug 0", 20, 0),
        ("mug 150", 20, 150),
    ]
    assert found.document["shots"][0]["axes"]["row"][1] == {"text": "mug 1", "steps": 21, "seed": 1}


def test_a_seed_of_minus_one_is_a_random_one_beside_those_that_are_given() -> None:
    found = imported("--prompt a --seed -1\n--prompt b --seed 7\n--prompt c --seed -1\n")
    seeds = [shot.seed for shot in found.shots]
    assert seeds[1] == 7
    assert len({*seeds, -1}) == 4


def test_a_swarmui_list_is_translated() -> None:
    found = imported(
        "a <random:red,blue> mug\na <random[2]:oak|pine|<random:x,y>> lamp <lora:ink:0.8>\n"
        "<setvar[c]:oak> table, <var:c> chair, <alternate:cat,dog>, {brace} <comment:hidden>\n"
        "<random:a {b} | c, d || e> <segment:face> a nice face\n",
        kind="swarmui",
    )
    rows = [row["text"] for row in found.document["shots"][0]["axes"]["row"]["values"]]
    assert rows == [
        "a {red|blue} mug",
        "a {2$$ $$oak|pine|{x|y}} lamp",
        "oak table, oak chair, cat, dog, \\{brace\\}",
        "{a \\{b\\} \\| c, d|e}",
    ]
    assert {"LoRA ink", "<alternate:cat,dog>", "<segment:face> a nice face"} <= set(found.left)


def test_a_swarmui_wildcard_is_one_here() -> None:
    found = imported("a <wildcard:people/job> and <wildcard[2,]:tag>", kind="swarmui")
    assert "a __people/job__ and {2$$, $$__tag__}" in found.text


def test_dynamic_prompts_stay_what_they_are() -> None:
    found = imported("a {red|blue} mug\n{2$$rain|fog|wind} over a lamp\n")
    assert found.shots[0].prompt in ("a red mug", "a blue mug")


def test_what_sets_nothing_is_told_once_with_its_count_and_first_place() -> None:
    text = "".join(f"--prompt mug{number} --eta 0.5\n" for number in range(5))
    (left,) = [each for each in imported(text).account.left if "eta" in each.what]
    assert (left.count, left.place) == (5, "line 1")


_WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=60)
_PLAIN = _WORDS.map(str.strip).filter(
    lambda text: (
        bool(text.strip(", "))
        and not text.startswith(("#", '"', "'"))
        and "--" not in text
        and "—" not in text
        and "<" not in text
    )
)


@given(st.lists(_PLAIN, min_size=1, max_size=4, unique=True))
@settings(max_examples=100, deadline=None)
def test_any_prompt_of_a_kohya_file_comes_out_as_it_is(prompts: list[str]) -> None:
    found = imported("\n".join(f"{prompt} --s 20" for prompt in prompts), kind="kohya")
    assert [shot.prompt for shot in found.shots] == prompts


@given(
    st.lists(
        _WORDS.map(str.strip).filter(lambda text: bool(text.strip(", ")) and "<" not in text),
        min_size=1,
        max_size=4,
        unique=True,
    )
)
@settings(max_examples=100, deadline=None)
def test_any_quoted_prompt_of_a_flag_list_comes_out_as_it_is(prompts: list[str]) -> None:
    quoted = [prompt.replace("\\", "\\\\").replace('"', '\\"') for prompt in prompts]
    text = "\n".join(f'--prompt "{prompt}" --negative_prompt "{prompt}" --steps 20' for prompt in quoted)
    found = imported(text, kind="a1111")
    assert [(shot.prompt, shot.negative) for shot in found.shots] == [(prompt, prompt) for prompt in prompts]


@pytest.mark.parametrize(
    "line",
    [
        "<random:" * 20_000,
        "{" * 50_000,
        "--prompt " * 20_000,
        '--a "' * 30_000,
        "(a:1.2)" * 20_000,
        "[" * 50_000,
    ],
)
def test_no_line_takes_long(line: str) -> None:
    start = time.thread_time()
    for kind in ("a1111", "kohya", "swarmui", "invokeai", "midjourney", None):
        with contextlib.suppress(UnusableSource):
            imported(line, kind=kind)
    # Seconds of the processor, which others that are busy do not take; quadratic time would be minutes.
    assert time.thread_time() - start < 6


def test_a_textual_inversion_of_another_program_is_that_of_the_catalog_or_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inversions = {"easy-neg": inversion("easy-neg")}
    monkeypatch.setattr(making, "CATALOG", replace(making.CATALOG, textual_inversions=inversions))
    text = '--prompt "a cat, (embedding:Easy-Neg.pt:1.2)" --negative_prompt "embedding:bad_hands, dark"\n'
    found = imported(text, model="sd15")
    assert [shot.prompt for shot in found.shots] == ["a cat, (embedding:easy-neg:1.2)"]
    assert found.shots[0].negative == "bad_hands, dark"
    assert "kept as a word: the catalog has no such textual inversion" in found.left["`embedding:bad_hands`"]
    swarm = imported("a dog <embed:easy-neg> <random:a,b>\n", model="sd15")
    assert swarm.shots[0].prompt.startswith("a dog embedding:easy-neg ")

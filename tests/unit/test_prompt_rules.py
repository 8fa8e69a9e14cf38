"""Rules for prompts: what they find, where, how fast, and what whoever breaks one is told."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from common.errors import InvalidDocument
from common.manifest.parse import parse_manifest
from common.prompt_rules import PromptRule, PromptRules
from coordinator.expand import expand
from coordinator.submission.shot_checks import ShotChecks
from coordinator.submission.tokens import Tokenizers
from tests.unit.expand.making import catalog, group

WEAPONS = PromptRule(name="weapons", words=("gun", "rifle*", "*sword*", "hand grenade"), remedy="draw tools")
TRADE = PromptRule(name="trade", words=("acme",), beside=("logo", "brand*"))


@pytest.mark.parametrize(
    ("prompt", "piece"),
    [
        ("a man with a gun", "gun"),
        ("a man with a GUN, (gun:1.2)", "GUN"),
        ("a (gun:1.3) on a table", "gun"),
        ("a water_gun", "gun"),
        ("two rifles", "rifles"),
        ("a longsword", "longsword"),
        ("a hand, grenade", "hand, grenade"),
        # Fullwidth, Cyrillic and accented letters, and an invisible one.
        ("a ｇｕｎ", "ｇｕｎ"),
        ("a rіflе", "rіflе"),
        ("a gün", "gün"),
        ("a g\u200bun there", "g\u200bun"),
        ("the ﬁrst gun", "gun"),
        *((prompt, None) for prompt in ("a gunner", "begun", "a trifle", "a hand and a grenade", "", "…")),
    ],
)
def test_a_rule_finds_words_in_any_spelling_and_parts_only_where_it_says_so(
    prompt: str, piece: str | None
) -> None:
    broken = PromptRules([WEAPONS]).broken(prompt)
    assert (broken and broken.piece) == piece
    if broken:
        assert (broken.name, broken.remedy) == ("weapons", "draw tools")


@pytest.mark.parametrize(
    ("prompt", "refused"),
    [("an acme mug", False), ("a logo", False), ("a logo by acme", True), ("acme branding", True)],
)
def test_a_rule_may_need_words_beside_its_own(prompt: str, refused: bool) -> None:
    assert (PromptRules([TRADE]).broken(prompt) is not None) == refused


@pytest.mark.parametrize(
    ("prompt", "refused"),
    [
        ("a nude schoolgirl", True),
        ("(naked:1.1), 2 kids", True),
        ("little girl, lingerie", True),
        ("junges Mädchen, nackt", True),
        ("une fillette nue", True),
        ("niña desnuda", True),
        ("a child on a swing", False),
        ("a nude woman", False),
        ("a kind smile, nude", False),
        ("a Sussex sextant, children", False),
    ],
)
def test_one_rule_holds_whatever_the_settings_say(prompt: str, refused: bool) -> None:
    broken = PromptRules().broken(prompt)
    assert (broken is not None and broken.name == "minors") == refused


@pytest.mark.parametrize(
    ("prompt", "piece"),
    [
        # What a model reads as one word, or as two.
        ("nude chi(ld:1.0)", "chi(ld"),
        ("nude chi<|im_end|>ld", "chi<|im_end|>ld"),
        ("nude chi</s>ld", "chi</s>ld"),
        ("nude chi<|im_<|endoftext|>end|>ld", "chi<|im_<|endoftext|>end|>ld"),
        ("nude chi<extra_id_7>ld", "chi<extra_id_7>ld"),
        ("nude chi<|ENDOFTEXT|>ld", "chi<|ENDOFTEXT|>ld"),
        ("nude chi BREAK ld", "chi BREAK ld"),
        ("nude chi\\(ld", "chi\\(ld"),
        ("nude [chi[ld]|x]", "chi[ld"),
        ("nude [chi(ld:1.1):x:0.5], y", "chi(ld"),
        ("nude little</s>girl", "little</s>girl"),
        ("nude (little:1.2) (girl:1.1)", "little:1.2) (girl"),
        ("n(u:1.1)de chi</s>ld", "chi</s>ld"),
        ("nude, chi.ld", "chi.ld"),
        ("nude c_h_i_l_d", "c_h_i_l_d"),
        # Ages.
        ("nude 12 year old girl", "12 year old"),
        ("nude 12-year-old", "12-year-old"),
        ("nude girl, 12yo", "12yo"),
        ("nude, a pretty eleven year old", "eleven year old"),
        ("sexy girl, aged twelve", "aged twelve"),
        ("a nude girl at the age of 9", "age of 9"),
        ("nude girl, 12 years old, whisky", "12 years old"),
        ("zwölf, nackt, 12 Jahre alt", "12 Jahre alt"),
        ("fille de 12 ans, nue, nude", "de 12 ans"),
        ("niña de 12 años desnuda", "niña"),
        ("обнажённая, 12 лет", "12 лет"),
        # Words that are written as one.
        ("nakedchild", "nakedchild"),
        ("a childporn", "childporn"),
        ("nudelittlegirls", "nudelittlegirls"),
        ("naked littlegirl", "littlegirl"),
        ("naked\u200bchild", "naked\u200bchild"),
        # Characters that show as nothing.
        *((f"nude chi{sign}ld", f"chi{sign}ld") for sign in "\u3164\u115f\u2800\u200b\u2060\u00ad\x01\ufe0f"),
        # Letters that look like others.
        ("nude chilԁ", "chilԁ"),
        ("nսde child", "child"),
        ("nude cհild", "cհild"),
        ("nude ᴄʜɪʟᴅ", "ᴄʜɪʟᴅ"),
        ("nude ⓒⓗⓘⓛⓓ", "ⓒⓗⓘⓛⓓ"),
        ("nude 🅲🅷🅸🅻🅳", "🅲🅷🅸🅻🅳"),
        ("nude 🇨🇭🇮🇱🇩", "🇨🇭🇮🇱🇩"),
        ("nude 𝐂𝐇𝐈𝐋𝐃", "𝐂𝐇𝐈𝐋𝐃"),
        ("nude CНILD", "CНILD"),
        # Cyrillic words.
        ("голая девочка", "девочка"),
        ("РЕБЁНОК, СЕКС", "РЕБЁНОК"),
        ("nude ребенок", "ребенок"),
    ],
)
def test_what_a_model_reads_is_judged_and_told_as_it_is_written(prompt: str, piece: str) -> None:
    broken = PromptRules().broken(prompt)
    assert broken
    assert (broken.name, broken.piece) == ("minors", piece)
    assert prompt[broken.at :].startswith(piece)


@pytest.mark.parametrize(
    "prompt",
    [
        "a child's toy",
        "a nude statue in Childs Hill",
        "children's book illustration of a fox (soft:1.2), [pastel]",
        "12 years old whisky",
        "a bottle of 12 year old single malt whisky beside a nude statue",
        "a nude woman, 35 years old",
        "a 25-year-old woman, lingerie",
        "a sexy 18 year old woman",
        "a sexy woman, twenty-one years old",
        "Essex, Middlesex and Sussex schoolchildren",
        "a kindergarten, crayon drawing",
        "a red pen, is it (new:1.1)?",
        "a minority report, sexy",
        "дети радуются на празднике",
        "nude study, baby blue background",
        "a nude at the kitchen table, teapot",
        "embedding:easynegative, nude woman",
        "a naked mole rat, adult",
        "🇨🇭 a nude woman",
    ],
)
def test_harmless_prompts_pass(prompt: str) -> None:
    assert PromptRules().broken(prompt) is None


#: What a model does not read, or nobody sees, by itself or in pairs.
HIDING = (
    *("(", ")", "[", "]", "|", "\\", "\\(", "\\]", ":1.2)", ":0.5]", " BREAK ", "(BREAK)", "((", ":1.0))"),
    *("<|im_end|>", "</s>", "<pad>", "<unk>", "<extra_id_3>", "<|startoftext|>", "<|im_<pad>start|>"),
    *("\u200b", "\u3164", "\u115f", "\u2800", "\u2063", "\u034f", "\ufeff", "\U000e0041"),
)


@given(
    st.sampled_from(["child", "teenager", "lolita", "школьница", "fillette", "rifles"]),
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from(HIDING)), max_size=4),
    st.sampled_from(["{}, nude", "nude {} there", "(nude:1.2), ({}:1.1)", "n</s>ude <|im_end|>{}, x"]),
)
def test_nothing_that_a_model_leaves_out_hides_a_word(
    word: str, hiding: list[tuple[int, str]], around: str
) -> None:
    for at, sign in sorted(hiding, reverse=True):
        word = word[:at] + sign + word[at:]
    prompt = around.format(word)
    broken = PromptRules([WEAPONS]).broken(prompt)
    assert broken
    assert prompt[broken.at :].startswith(broken.piece)


@pytest.mark.parametrize(
    "piece", ["(", "[", "<|im_", "</s>", "a<|", ":1.1)", " BREAK ", "nude", "x\u3164", "12 "]
)
def test_syntax_without_end_takes_time_in_proportion(piece: str) -> None:
    def seconds(size: int, times: int) -> float:
        text = piece * size
        began = time.thread_time()
        for _ in range(times):
            PromptRules().broken(text)
        return time.thread_time() - began

    best = min(seconds(2_500, 1) / max(seconds(100, 25), 1e-9) for _ in range(3))
    assert best < 8, "twenty-five times the text takes twenty-five times as long"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("**",), "must have a letter or a digit"),
        (("gu*n",), "may have `*` at its ends only"),
        ((), "at least 1 item"),
    ],
)
def test_a_term_without_words_is_refused(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace("*", r"\*")):
        PromptRule(name="r", words=words)


@given(st.text(alphabet="ab *(:", max_size=30), st.text(alphabet="ab ", min_size=1, max_size=4))
def test_what_breaks_a_rule_stands_in_the_prompt(prompt: str, word: str) -> None:
    if not word.strip():
        return
    broken = PromptRules([PromptRule(name="r", words=(word, f"{word.strip()}*"))]).broken(prompt)
    assert broken is None or broken.piece in prompt


def test_a_long_prompt_takes_as_long_as_many_short_ones() -> None:
    rules = PromptRules([WEAPONS, PromptRule(name="a", words=("*aaab*", "a a a b", "b*"))])

    def seconds(size: int, times: int) -> float:
        text = "a" * size + " a" * size
        began = time.thread_time()
        for _ in range(times):
            rules.broken(text)
        return time.thread_time() - began

    best = min(seconds(50_000, 1) / max(seconds(1_000, 50), 1e-9) for _ in range(3))
    assert best < 10, "fifty times the text takes fifty times as long"


def refused(manifest: str, *rules: PromptRule) -> list[str]:
    parsed = parse_manifest(manifest, source="m.yaml", files=None, catalog=catalog())
    checks = ShotChecks(expand(parsed, catalog()), Tokenizers(catalog()), PromptRules(rules))
    list(checks.passing())
    try:
        checks.raise_any()
    except InvalidDocument as error:
        return str(error).splitlines()
    return []


def test_whoever_breaks_a_rule_is_told_its_name_the_place_and_the_remedy_but_no_list() -> None:
    text = group("seeds: 3", "negative: rifles", prompt='"a cat with a Gun"')
    (said,) = refused(text, WEAPONS, TRADE)
    assert said.startswith("m.yaml:5:25: shots[0].prompt: the prompt of `g/")
    assert said.endswith("breaks rule `weapons` at its character 14 (3 images in all): draw tools")
    assert "rifle" not in said


def test_the_column_is_that_of_the_word_and_not_of_letters_in_another() -> None:
    (said,) = refused(group(prompt='"a begun gun"'), WEAPONS)
    assert said.startswith("m.yaml:5:20: ")
    assert "at its character 9:" in said


def test_a_word_from_the_value_of_an_axis_is_shown_there_and_a_composed_one_at_the_prompt() -> None:
    axes = "axes:\n  tool:\n  - {name: saw, look: a saw}\n  - {name: gun, look: an old gun}"
    (said,) = refused(group(axes, prompt='"a {tool.look}"'), WEAPONS)
    assert said.startswith("m.yaml:9:32: shots[0].axes.tool[1].look: the prompt of `g/")
    (said,) = refused(group("axes: {a: [hand]}", prompt='"{a} grenade"'), WEAPONS)
    assert said.startswith("m.yaml:5:11: shots[0].prompt: ")


def test_each_word_that_breaks_a_rule_is_told_once() -> None:
    said = refused(group("axes: {a: [gun, rifle, saw]}", "seeds: 2", prompt='"a {a}"'), WEAPONS)
    assert len(said) == 2
    assert all("(2 images in all)" in line for line in said)

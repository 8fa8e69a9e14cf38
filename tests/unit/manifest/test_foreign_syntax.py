"""What other programs read in prompts is warned of wherever it stands, and plain text is left in peace."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal, get_args

import pytest

from common.catalog import load_catalog
from common.errors import InvalidDocument, Problem
from common.manifest.files import FileReader
from common.manifest.foreign_syntax import foreign
from common.manifest.parse import parse_manifest
from common.manifest.prompt_texts import PromptText

Kind = Literal["template", "value", "line"]


@pytest.mark.parametrize(
    ("text", "kind", "found", "remedy"),
    [
        ("a (red:1.3) cat", "weight", "(red:1.3)", "not support weights"),
        ("((red:1.3)) cat", "weight", "(red:1.3)", "not support weights"),
        ("(red hair: .8)", "weight", "(red hair: .8)", "not support weights"),
        ("(from 1990:1.2)", "weight", "(from 1990:1.2)", "not support weights"),
        ("(red hair)1.3, cat", "weight behind brackets", "(red hair)1.3", "in the form `(x:1.2)`"),
        ("a (red hair)++ cat", "weight behind brackets", "(red hair)++", "in the form `(x:1.2)`"),
        ("hot dog::2 bun::-1", "weight behind brackets", "g::2", "in the form `(x:1.2)`"),
        ("a cat BREAK a dog", "break", "BREAK", "not support BREAK"),
        ("a cat ADDCOMM a dog", "regions", "ADDCOMM", "not support regions"),
        ("a ((big)) cat", "emphasis", "((big))", "remove the brackets"),
        ("a [[small]] cat", "emphasis", "[[small]]", "remove the brackets"),
        ("[white:red:0.5] table", "schedule", "[white:red:0.5]", "between steps"),
        ("[red::12] table", "schedule", "[red::12]", "between steps"),
        ("[:red:.5] table", "schedule", "[:red:.5]", "between steps"),
        ("[cow|horse] in a field", "alternation", "[cow|horse]", "{a|b}"),
        ("a cat AND a dog", "composition", "AND", "comma"),
        ("a cat\nAND a dog", "composition", "AND", "comma"),
        ("<random:a,b> cat", "tag", "<random:a,b>", "{a|b}"),
        ("<wildcard:job>", "tag", "<wildcard:job>", "__name__"),
        ("<segment:face> smile", "tag", "<segment:face>", "not support inpainting"),
        ("<fromto[0.5]:a,b>", "tag", "<fromto[0.5]:a,b>", "intended"),
        ("<ana_v2:0.8> smiles", "tag", "<ana_v2:0.8>", "loras: [ana_v2@0.8]"),
        ("embedding:easynegative, cat", "embedding", "embedding:easynegative", "no textual inversions"),
        ("{a:0.3|b:0.7}", "weight behind", "{a:0.3|b:0.7}", "{0.3::a|0.7::b}"),
        ("{red:2|blue:1} cat", "weight behind", "{red:2|blue:1}", "{2::red|1::blue}"),
        ("{a:0.3|b} cat", "weight behind", "{a:0.3|b}", "{0.3::a|1::b}"),
        ("a ${season} road", "variable", "${season}", "{season}"),
        ("a cat --w 512", "flag", "--w 512", "`size:`"),
        ("a cat --n blurry, dark", "flag", "--n blurry,", "`negative:`"),
        ("a cat --ar 2:3", "flag", "--ar 2:3", "`size:`"),
        ("a cat \u2014ar 2:3", "flag", "\u2014ar 2:3", "`size:`"),
        ("a cat --s 7", "flag", "--s 7", "`steps:`"),
        ("a cat --d=42", "flag", "--d=42", "`seeds:`"),
        ("a cat --cfg-scale 7", "flag", "--cfg-scale 7", "`guidance:`"),
        ("a cat --zoom 2", "flag", "--zoom 2", "leave it out"),
        ("a cat --tile", "flag", "--tile", "leave it out"),
        (r"miku \(singer\)", "escape", r"\(", "no backslash"),
        ("a mug\n# in red\non a table", "comment", "#", "comment"),
        ("a mug\n  #in red", "comment", "#in", "comment"),
        ("a mug // in red", "comment", "//", "comment"),
        ("//a mug", "comment", "//a", "comment"),
        ("a mug # in red", "comment", "#", "comment"),
        ("a mug\nNegative prompt: blurry", "parameters", "Negative prompt:", "negative:"),
        ("__a1___camera__", "underscores", "_camera__", "__name__"),
        ("a __hair on it", "underscores", "__hair", "__name__"),
        ("__{a|b}__", "underscores", "__{a|b}__", "__name__"),
    ],
)
def test_what_no_model_understands_is_found_with_a_remedy(
    text: str, kind: str, found: str, remedy: str
) -> None:
    (first, *_) = [each for each in foreign(PromptText("p", text, "template")) if each[0] == kind]
    assert first[2] == found
    assert remedy in first[3]
    assert text[first[1] :].lstrip().startswith(found[:3])


#: In which nothing is found.
PLAIN = [
    "a clock at (12:30), ratio 3:2 (16:9), John (3:16), f/2.8, 10--20 mm, ISO 1:1.5",
    "a sign [SALE] and [b], (small) cat, low-key -- dark, he said --slowly-- so",
    "salt and pepper, SALT AND PEPPER, BREAKFAST, a <3 b> c, <b>bold</b>, i<j:k",
    "snake__case, a blank __ here, #1 fan, colour #ff0000, no. #5, C# and C++, std::vector",
    "http://example.org/x//y, and/or, a price of $5 or 5$, 100% wool, back\\slash",
    "girl:dragon:0.5, time 12:30, scale 1:87, key: value, a_b, emoji :smile:",
    "AND, the logic gate",
]
#: Variants in values that do not expand.
UNEXPANDED = [
    "a {{ season }} road",
    "{% if x %}a{% endif %}",
    "a {red|blue} cat",
    "a __hair color__ cat",
    "a {season} road",
    "a ${season} road",
]
KINDS: list[tuple[str, Kind, set[str]]] = [
    *((text, kind, set()) for text in PLAIN for kind in get_args(Kind)),
    *((text, "value", {"unexpanded"}) for text in UNEXPANDED),
    ("{3:2|16:9} at {12:30|18:00}, {a: b|c}", "template", set()),
]


@pytest.mark.parametrize(("text", "kind", "found"), KINDS)
def test_plain_text_is_left_in_peace(text: str, kind: Kind, found: set[str]) -> None:
    assert {each[0] for each in foreign(PromptText("p", text, kind))} == found


class Plan:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def parsed(self, *lines: str, top: str = "") -> list[Problem]:
        shots = "\n  ".join(["shots:", "- name: g", "  model: shotfarm-demo", *lines])
        content = f"version: 1\n{top}\n{shots}\n".replace("\n  - name", "\n- name").replace(
            "\n    model", "\n  model"
        )
        files = FileReader(self.folder)
        return list(parse_manifest(content, source="m.yaml", files=files, catalog=load_catalog()).warnings)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards/w.txt").write_text("plain\na (big:1.2) hat\n")
    (tmp_path / "wildcards/many.txt").write_text("a <lora:x:1>\n" * 300)
    (tmp_path / "l.txt").write_text("x\ny\na (red:1.2) cat\n")
    (tmp_path / "p.csv").write_text("sku,Title,Other\na,(red:1.2) mug,(blue:1.2)\n")
    return Plan(tmp_path)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        *(
            (lines, f"{place}: `(red:1.2)` is plain text for `shotfarm-demo`")
            for lines, place in (
                (("prompt: a (red:1.2) cat",), "shots[0].prompt"),
                (("prompt: a cat", "negative: (red:1.2)"), "shots[0].negative"),
                (("prompt: '{c}'", "axes: {c: ['(red:1.2)']}"), "shots[0].axes.c[0]"),
                (("prompt: '{c}'", "axes: {c: {values: ['(red:1.2)'], expand: true}}"), "shots[0].axes.c[0]"),
                (("prompt: '{c.d}'", "axes: {c: [{d: '(red:1.2)', e: '(x:1.3)'}]}"), "shots[0].axes.c[0].d"),
                (("axes: {prompt: ['(red:1.2)']}",), "shots[0].axes.prompt[0]"),
                (("axes: {c: [{prompt: '(red:1.2)'}]}",), "shots[0].axes.c[0].prompt"),
                (("prompt: '{m}'", "axes: {c: [x]}", "include: [{m: '(red:1.2)'}]"), "shots[0].include[0].m"),
                (
                    ("axes: {c: [x]}", "prompt: y", "include: [{c: x, prompt: '(red:1.2)'}]"),
                    "shots[0].include[0].prompt",
                ),
            )
        ),
        # In a file, with file and line.
        (("prompt: __w__",), ": wildcards/w.txt:2:3: `(big:1.2)`"),
        (("prompt: '{l}'", "axes: {l: {file: l.txt}}"), ": l.txt:3:3: `(red:1.2)`"),
        (("prompt: '{p.Title}'", "axes: {p: {file: p.csv}}"), ": p.csv:2"),
    ],
)
def test_it_is_warned_of_wherever_it_stands(plan: Plan, lines: tuple[str, ...], told: str) -> None:
    (warning,) = plan.parsed(*lines)
    assert told in f"{warning.path}: {warning.message}"


def test_what_nothing_reads_is_not_looked_at(plan: Plan) -> None:
    assert plan.parsed("prompt: '{p.sku}'", "axes: {p: {file: p.csv}}") == []
    axes = "axes: {p: {values: [{sku: a, notes: 'un{closed __gone__'}], expand: true}}"
    assert plan.parsed("prompt: '{p.sku}'", axes) == []


def test_each_kind_is_told_once_with_its_number_and_first_place(plan: Plan) -> None:
    found = plan.parsed(
        "prompt: (a:1.2) BREAK __w__ {l}", "negative: (b:1.2) BREAK", "axes: {l: {file: l.txt}}"
    )
    assert [(warning.line, warning.message.rpartition(" (")[2]) for warning in found] == [
        (6, "4 times, first here)"),
        (6, "2 times, first here)"),
    ]


@pytest.mark.parametrize(
    ("lines", "top", "words"),
    [
        (("prompt: '<lora:x:0.8> cat'",), "", "write `loras: [x@0.8]`"),
        (("prompt: __w__",), "wildcards: {w: [a, 'b <lora:x:0.8>']}", "an axis a list of mappings"),
        (("prompt: '{c}'", "axes: {c: ['a <lyco:x>']}"), "", "{name: x, text: …, loras: [x]}"),
        (("prompt: __many__",), "", "wildcards/many.txt:1:3: "),
        (("prompt: __many__",), "", "(300 times, first here)"),
    ],
)
def test_a_lora_tag_is_an_error_that_says_where_loras_can_be_set(
    plan: Plan, lines: tuple[str, ...], top: str, words: str
) -> None:
    with pytest.raises(InvalidDocument) as caught:
        plan.parsed(*lines, top=top)
    (problem,) = caught.value.problems
    assert words in problem.message


@pytest.mark.parametrize(
    "attack",
    ["(", "(a", "(:1", "[", "[a:", "[a|", "<a:", "{", "{a:1|", "a__ ", "__a ", " --a", "AND ", "\n#", "::1",
     "a AND ", "<", "\\(", "${", "((", "embedding:", "(a)", "(a)+", "- -", "a:1", "__", "{{", "_ "],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["template", "value", "line"])
def test_looking_takes_time_in_proportion_to_the_text(attack: str, kind: Kind) -> None:
    start = time.process_time()
    list(foreign(PromptText("p", attack * (60_000 // len(attack)), kind)))
    assert time.process_time() - start < 1

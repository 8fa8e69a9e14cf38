"""A mistake is told once and where it stands, with the thing that is wrong and what it may have meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.catalog import load_catalog
from common.errors import InvalidDocument
from common.manifest.files import FileReader
from common.manifest.parse import parse_manifest
from coordinator.expand import expand

CATALOG = load_catalog()
FILES = {
    "rows.csv": "name,prompt\na,x\n,y\n",
    "twice.json": '[\n{"name": "a"},\n {"name": "a"}]',
    "wrong.yaml": "a: {steps: x}\n",
    "brace.json": '[{"name": "a", "prompt": "{prompt} {b"}]',
    "typed.csv": "sku,steps\nA,4\n\nB,four\n",
    "hash.txt": "blue\n#ff5733\n#note\n #FFF\n",
}


def told(folder: Path, content: str) -> list[str]:
    """The problems of a manifest, else its warnings."""
    whole = f"version: 1\n{content}\n"
    try:
        parsed = parse_manifest(whole, source="m.yaml", files=FileReader(folder), catalog=CATALOG)
        expansion = expand(parsed, CATALOG)
    except InvalidDocument as error:
        return str(error).split("\n")
    return [warning.at("m.yaml") for warning in (*parsed.warnings, *expansion.warnings)]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (
            "lists: {scenes: [a]}\nshots: [{axes: {x: {list: scene}}}]",
            "3:27: shots[0].axes.x: unknown list `scene`: did you mean `scenes`?",
        ),
        (
            "lists: {scenes: [a]}\nshots: [{axes: {x: {list: kitchen}}}]",
            "3:27: shots[0].axes.x: unknown list `kitchen`; known is `scenes`",
        ),
        (
            "shots: [{axes: {x: {list: a}}}]",
            "2:27: shots[0].axes.x: unknown list `a`; list its values under `lists:`",
        ),
        (
            "lists: {a: [b]}\nshots: [{axes: {x: {list: [a]}}}]",
            "3:27: shots[0].axes.x: unknown list `a list`; known is `a`",
        ),
        (
            "lists: {a: [b]}\nshots: [{axes: {x: {list: a, step: 2}}}]",
            "3:30: shots[0].axes.x.step: `step` cannot be combined with `list`",
        ),
        (
            "lists: {a: {list: b}, b: [c]}\nshots: [{axes: {x: {list: a}}}]",
            "2:12: lists.a: list `a` refers to another list; write its values",
        ),
        (
            "lists: {a: b}\nshots: [{axes: {x: {list: a}}}]",
            "2:12: shots[0].axes.x: must be a list, not `b`; write `[b]`",
        ),
        ("lists: [a]\nshots: [{prompt: p}]", "2:8: lists: must be a mapping of names to values, not a list"),
        (
            "presets: {a: {promt: x}}\nshots: [{prompt: p}]",
            "2:15: presets.a.promt: unknown key `promt`: did you mean `prompt`?",
        ),
        ("presets: {a: {steps: x}}\nshots: [{prompt: p}]", "2:22: presets.a.steps: must be a whole number"),
        (
            "presets: {a: {preset: b}}\nshots: [{prompt: p}]",
            "2:15: presets.a.preset: unknown key `preset`; a preset cannot use presets",
        ),
        (
            "presets: {a: {seeds: 2}}\nshots: [{prompt: p}]",
            "2:15: presets.a.seeds: unknown key `seeds`; write it in the group",
        ),
        (
            "presets: {a: 3}\nshots: [{prompt: p}]",
            "2:14: presets.a: must be a mapping such as `{steps: 8}`, not `3`",
        ),
        ("presets: [a]\nshots: [{prompt: p}]", "2:10: presets: must be a mapping of names to settings"),
        (
            "presets: {cinema: {}}\nshots: [{prompt: p, preset: cinma}]",
            "3:29: shots[0].preset: unknown preset `cinma`: did you mean `cinema`?",
        ),
        (
            "shots: [{prompt: p, preset: a}]",
            "2:29: shots[0].preset: unknown preset `a`; this manifest has no `presets`",
        ),
        (
            "presets: {b: {}}\nshots: [{prompt: p, preset: [b, {a: b}]}]",
            "3:33: shots[0].preset[1]: must be the name of a preset, or a list",
        ),
        (
            "presets: {b: {}}\nshots: [{prompt: p, axes: {x: [{preset: c}]}}]",
            "3:41: shots[0].axes.x[0].preset: unknown preset `c`; known is `b`",
        ),
        (
            "presets: {a: {model: nope}}\nshots: [{prompt: p, preset: a}]",
            "2:22: presets.a.model: unknown model `nope`",
        ),
        (
            "presets: {a: {sampler: nope}}\nshots: [{prompt: p, preset: a}]",
            "2:24: presets.a.sampler: `shotfarm-demo` has no sampler `nope`",
        ),
        (
            "presets: {'v1.5 [x]': {prompt: '{prompt} {b'}}\nshots: [{prompt: p, preset: 'v1.5 [x]'}]",
            "2:42: presets.v1.5 [x].prompt: this brace is never closed",
        ),
        (
            "presets: {a: {prompt: '{prompt} {thng}'}}\nshots: [{prompt: p, preset: a}]",
            "2:33: presets.a.prompt: unknown reference {thng}",
        ),
        (
            "presets: {a: {prompt: '{prompt} __no__'}}\nshots: [{prompt: p, preset: a}]",
            "2:33: presets.a.prompt: unknown wildcard `__no__`",
        ),
        ("presets: {a: {prompt: '{prompt} __no__ {thng} (x:1.2)', model: nope}}\nshots: [{prompt: p}]", None),
        (
            "presets: {a: {prompt: '{prompt} x'}}\nshots: [{preset: a}]",
            "2:24: presets.a.prompt: {prompt} inserts the prompt set before, but none is set;"
            " write one in the group",
        ),
        (
            "shots: [{prompt: '{prompt} x'}]",
            "2:19: shots[0].prompt: {prompt} inserts the prompt set before, but none is set;"
            " write one in `defaults`",
        ),
        (
            "shots: [{prompt: p, negative: '{negative} x'}]",
            "2:32: shots[0].negative: {negative} inserts the negative set before",
        ),
        (
            "shots: [{axes: {s: [{prompt: '{prompt} x', name: a}]}}]",
            "2:31: shots[0].axes.s[0].prompt: {prompt} inserts the prompt set before",
        ),
        (
            "shots: [{axes: {s: [{prompt: a}, {x: b}], t: [{prompt: '{prompt} x'}]}}]",
            "2:57: shots[0].axes.t[0].prompt: {prompt} inserts the prompt set before, but none is set where",
        ),
        (
            "shots: [{prompt: '{prompt} x', axes: {prompt: [a, b]}}]",
            "2:19: shots[0].prompt: {prompt} inserts the prompt set before, but the axis `prompt` replaces",
        ),
        (
            "defaults: {model: shotfarm-demo, prompt: d}\nshots: [{prompt: '{prompt} x',"
            " axes: {s: [{prompt: a}, {prompt: b}]}}]",
            "3:19: shots[0].prompt: every value of `s` replaces this prompt; write {prompt} in those as well",
        ),
        (
            "presets: {a: {prompt: x}}\nshots: [{prompt: p, preset: a}]",
            "2:23: presets.a.prompt: is replaced by `shots[0].prompt`; write `{prompt}` in the preset",
        ),
        (
            "presets: {a: {prompt: x}}\nshots: [{prompt: p, axes: {preset: [a]}}]",
            "2:23: presets.a.prompt: replaces `shots[0].prompt`; write `{prompt}` in the preset",
        ),
        (
            "presets: {file: no.yaml}\nshots: [{prompt: p, preset: a}]",
            "2:17: presets.file: file `no.yaml` does not exist",
        ),
        (
            "presets: {file: rows.csv}\nshots: [{prompt: p}]",
            "rows.csv:3:1: presets: is not a named preset; give it a `name`",
        ),
        (
            "presets: {file: twice.json}\nshots: [{prompt: p}]",
            "twice.json:3:11: presets.a: is given twice, first on line 2; keep one",
        ),
        (
            "presets: {file: wrong.yaml}\nshots: [{prompt: p}]",
            "wrong.yaml:1:12: presets.a.steps: must be a whole number, not `x`",
        ),
        (
            "presets: {file: brace.json}\nshots: [{prompt: p, preset: a}]",
            "brace.json:1:36: presets.a.prompt: this brace is never closed",
        ),
        (
            "lists: {one: [4, eight]}\ndefaults: {model: shotfarm-demo, prompt: p}\n"
            "shots: [{axes: {steps: {list: one}}}, {axes: {steps: {list: one}}}]",
            "2:18: shots[0].axes.steps[1]: must be a whole number, not `eight`",
        ),
        (
            "shots: [{prompt: '{x}', axes: {x: {file: typed.csv}}}]",
            "2:42: shots[0].axes.x[1].steps: typed.csv:4: must be a whole number, not `four`",
        ),
        (
            "shots: [{prompt: '{x}', axes: {x: {file: hash.txt}}}]",
            "2:42: shots[0].axes.x: hash.txt:2: `#ff5733` is read as a comment; write `\\#ff5733`",
        ),
        (
            "limits: {max_images: 2}\nshots: [{prompt: '{x}', axes: {x: [a, b, c]}}]",
            "3:35: shots[0].axes.x: has 3 values, more than `limits.max_images` (2)",
        ),
        (
            "limits: {max_images: many}\nshots: [{prompt: p, seeds: [1, 2], axes: {n: {from: 1, to: 9000}}}]",
            "2:22: limits.max_images: must be a whole number, not `many`",
        ),
        (
            "shots: [{prompt: '{x}', axes: {x: {from: 0, to: 1e12, step: 0.001}}}]",
            "2:35: shots[0].axes.x: has 1,000,000,000,000,001 values",
        ),
        (
            "shots: [{model: z-image, prompt: a (red:1.3) cat BREAK a dog}]",
            "2:36: shots[0].prompt: `(red:1.3)`\n2:50: shots[0].prompt: `BREAK`",
        ),
        ("shots: [{prompt: p}]\noutput: {quality: 80}", "3:19: output.quality: png has no quality"),
        ("name: a]\nshots: []]", "3:10: is not valid YAML"),
        # What names a broken axis is not wrong too.
        (
            "shots:\n- prompt: p\n  axes: {colour: [], size: [512x512, 256x256]}\n"
            "  zip: [[colour, size]]\n  include: [{colour: red}]\n  exclude: [{colour: blue}]",
            "4:18: shots[0].axes.colour: has no values",
        ),
        (
            "shots: [{prompt: 'a {os}', matrix: {os: [x, y]}}]",
            "2:28: shots[0].matrix: unknown key `matrix`: did",
        ),
        # A list cannot be put in quotes.
        (
            "shots: [{prompt: '{a}', axes: {a: [[x, {b: c}]]}}]",
            "2:36: shots[0].axes.a[0]: must be text, not a list",
        ),
        (
            "defaults: {model: sdxl, prompt: 'a {thing}'}\n"
            "shots: [{axes: {thing: [x]}}, {prompt: b}, {axes: {prompt: [one, two]}}, {name: d}]",
            "2:36: defaults.prompt: group `d` has no {thing}; give it that axis, or its own prompt",
        ),
        (
            "shots: [{prompt: '{motto} {zebra}', axes: {thing: [mug]},"
            " include: [{motto: x}, {thing: mug, mood: {name: a}}]}]",
            "2:27: shots[0].prompt: unknown reference {zebra}; known are `thing`, `motto`, `mood`",
        ),
        (
            "shots: [{prompt: 'a {cat}'}]",
            "2:21: shots[0].prompt: unknown reference {cat}; list its values under `axes:`, or write",
        ),
    ],
)
def test_a_mistake_is_told_at_its_place(content: str, found: str | None, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    if "defaults:" not in content:
        content += "\ndefaults: {model: shotfarm-demo}"
    messages = told(tmp_path, content)
    wanted = [f"m.yaml:{each}" if each[0].isdecimal() else each for each in (found or "").splitlines()]
    assert [each[: len(want)] for each, want in zip(messages, wanted, strict=True)] == wanted

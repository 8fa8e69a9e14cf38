"""Each remedy that a message names is applied to the manifest: the problem is gone, and no new one comes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.manifest.files import FileReader
from tests.unit.manifest.remedying import problems_of, remedied

BROKEN = Path(__file__).parent / "broken"

#: Lines of a group (of the manifest, where they start with `top`), and part of the message.
CASES = [
    ("seed: 42", "write `seeds: [42]`"),
    ("seed: [1, 2]", "write `seeds: [1, 2]`"),
    ("seed: -1", "write `seeds: {mode: random, count: 1}`"),
    ("seed: random", "write `seeds: {mode: random, count: 1}`"),
    ("Seed: 3254369738", "write `seeds: [3254369738]`"),
    ("seeds: -1", "write `seeds: {mode: random, count: 1}`"),
    ("seeds: random", "write `seeds: {mode: random, count: 1}`"),
    ("seeds: [-1]", "write `seeds: {mode: random, count: 1}`"),
    ("seeds: [random, random]", "write `seeds: {mode: random, count: 2}`"),
    ("seeds: 3254369738", "write `seeds: [3254369738]`"),
    ("seeds: 20000", "write `seeds: [20000]`"),
    ("seeds: 0", "write `seeds: [0]`"),
    ("seeds: 1, 2, 3", "write `seeds: [1, 2, 3]`"),
    ("seeds: 1-4", "write `seeds: {start: 1, count: 4}`"),
    ("seeds: 100..103", "write `seeds: {start: 100, count: 4}`"),
    ("seeds: {from: 1, to: 5}", "write `seeds: {start: 1, count: 5}`"),
    ('seeds: "4"', "write `seeds: 4`"),
    ("seeds: 4 seeds", "write `seeds: 4`"),
    ("axes: {frame: 1-10:3}", "write `{from: 1, to: 10, step: 3}`"),
    ("axes: {frame: 1..10}", "write `{from: 1, to: 10}`"),
    ("axes: {frame: 1-10}", "write `{from: 1, to: 10}`"),
    ("axes: {frame: 10-30 step 10}", "write `{from: 10, to: 30, step: 10}`"),
    ('axes: {frame: "range(1,10)"}', "write `{from: 1, to: 9}`"),
    ("axes: {frame: 10-1}", "write `{from: 10, to: 1, step: -1}`"),
    ("axes: {frame: {start: 1, stop: 10}}", "write `{from: 1, to: 10}`"),
    ("axes: {frame: {min: 1, max: 10, by: 3}}", "write `{from: 1, to: 10, step: 3}`"),
    ("matrix: {bg: [white, oak]}", "did you mean `axes`?"),
    ("Parameters: {bg: [white, oak]}", "did you mean `axes`?"),
    ("axes: {bg: white}", "write `[white]`"),
    ("axes:\n    bg: white, oak", "write `[white, oak]`"),
    ("axes: {bg: [white, [oak, sea]]}", 'write `"oak, sea"`'),
    (
        "axes: {a: [x, y], b: [p, q]}\n  exclude: [{a: [x, y], b: p}]",
        "write one entry for each: `{a: x, b: p}`, `{a: y, b: p}`",
    ),
    (
        "axes: {a: [x, y], b: [p, q]}\n  exclude:\n  - a: [x]\n    b: [p, q]",
        "write one entry for each: `{a: x, b: p}`, `{a: x, b: q}`",
    ),
    (
        "axes: {a: [x, y]}\n  include: [{a: [x, y], steps: 4}]",
        "write one entry for each: `{a: x, steps: 4}`, `{a: y, steps: 4}`",
    ),
    ("prompt: [a mug, a lamp]", "write `prompt: [a mug, a lamp]` under `axes:`"),
    ("prompt: [a mug]", "write `a mug`"),
    ("prompt: {cat}\n  axes: {cat: [tabby]}", 'put it in quotes: "{cat}"'),
    ("prompt: {cat|dog}", 'put it in quotes: "{cat|dog}"'),
    ("prompt: {cat|dog} on a mat", "put it in quotes: "),
    ("axes: {c: [{red|blue}, green]}", 'put it in quotes: "{red|blue}"'),
    ("axes:\n    c:\n    - {red, blue}", r"put it in quotes: '\{red, blue\}'"),
    ("negative: [blurry, text]", 'write `"blurry, text"`'),
    ("steps: [4, 8]", "write `steps: [4, 8]` under `axes:`"),
    ("steps: 10, 20", "write `steps: [10, 20]` under `axes:`"),
    ("steps: 10-20", "write `steps: {from: 10, to: 20}` under `axes:`"),
    ("steps: [8]", "write `8`"),
    ("model: [sdxl, sd15]", "write `model: [sdxl, sd15]` under `axes:`"),
    ("model: sdxl, sd15", "write `model: [sdxl, sd15]` under `axes:`"),
    ("size: 512x512, 768x768", "write `size: [512x512, 768x768]` under `axes:`"),
    ("sampler: [euler, ddim]\n  model: sdxl", "write `sampler: [euler, ddim]` under `axes:`"),
    ("width: 512\n  height: 768", "write `size: 512x768` instead of it and `height`"),
    ("height: 768\n  Width: 512", "write `size: 512x768` instead of it and `Width`"),
    ("width: 512", "write `size: 512x512`"),
    ("aspect_ratio: 2:3", "write `size: {aspect: 2:3}`"),
    (
        "aspect: 2:3\n  megapixels: 0.5",
        "write `size: {aspect: 2:3, megapixels: 0.5}` instead of it and `megapixels`",
    ),
    ("width: 512\n  size: 512x512", "remove it, since `size` already sets it"),
    ("resolution: 512x768", "write `size: 512x768`"),
    ("cfg: 3", "write `guidance: 3`"),
    ("CFG scale: 3.5", "write `guidance: 3.5`"),
    ("guidance_scale: 3", "write `guidance: 3`"),
    ("scheduler: euler", "write `sampler: euler`"),
    ("sampler_name: Euler a\n  model: sdxl", "write `sampler: euler_a`"),
    ("sampler: DPM++ 2M Karras\n  model: sdxl", "write `dpmpp_2m_karras`"),
    ("num_inference_steps: 4", "write `steps: 4`"),
    ("num_images: 4", "write `seeds: 4`"),
    ("batch_size: 2\n  n_iter: 3", "write `seeds: 6` instead of it and `n_iter`"),
    ("count: 3", "write `seeds: 3`"),
    ("negative_prompt: blurry", "write `negative: blurry`"),
    ("Negative prompt: blurry", "write `negative: blurry`"),
    ("model_name: sdxl", "write `model: sdxl`"),
    ("checkpoint: models/sdxl.safetensors", "write `model: sdxl`"),
    ("model: sdxl.safetensors", "did you mean `sdxl`?"),
    ("model: SDXL", "did you mean `sdxl`?"),
    ("model: Z-Image Turbo", "write `z-image-turbo`"),
    ("lora: blueprint", "write `loras: [blueprint]`"),
    ("lora: blueprint:0.8", "write `loras: [blueprint@0.8]`"),
    (
        "lora_name: blueprint\n  lora_weight: 0.8",
        "write `loras: [blueprint@0.8]` instead of it and `lora_weight`",
    ),
    ("loras: [blueprint:0.8]", "write `blueprint@0.8`"),
    ('loras: ["<lora:blueprint:0.8>"]', "write `blueprint@0.8`"),
    ("loras: {blueprint: 0.8}", "write `blueprint@0.8`"),
    ("loras: [blueprint@80%]", "write `blueprint@0.8`"),
    ('loras: ["blueprint@0,8"]', "write `blueprint@0.8`"),
    ("colour: [red, blue]", "write `colour: [red, blue]` under `axes:`"),
    ("frame: {from: 1, to: 3}", "write `frame: {from: 1, to: 3}` under `axes:`"),
    ("styles: [noir, pop]", "write `styles: [noir, pop]` under `axes:`"),
    ("strength: 0.5", "remove it: the farm supports only text-to-image"),
    ("eta: 0.5", "remove it: the farm does not have this setting"),
    ("clip_skip: -2", "must be a whole number from 1 to 12"),
    ("from: draft", "unknown key `from`; remove it"),
    ("filename: cat", 'write `output: {name: "cat"}`'),
    ("format: jpg\n  quality: 80", "write `output: {format: jpeg, quality: 80}` instead of it and `qual"),
    ("Steps: 4", "write `steps: 4`"),
    ("Seeds: 4", "did you mean `seeds`?"),
    ("size: 512", "write `512x512`"),
    ("size: 512*768", "write `512x768`"),
    ("size: [512, 768]", "write `512x768`"),
    ("size: 1:1", "write `{aspect: 1:1}`"),
    ("size: 0.5 MP", "write `{megapixels: 0.5}`"),
    ("size: portrait", "write `{aspect: 2:3}`"),
    ("size: {w: 512, h: 768}", "write `size: 512x768`"),
    ("size: 832х1216", "`х` is U+0445, Cyrillic; write `x`"),
    ("size: ８３２x１２１６", "`８` is U+FF18, full-width; write `832x1216`"),
    ("size: {aspect: 2x3}", "write `2:3`"),
    ("size: {aspect: 2：3}", "`：` is U+FF1A, full-width; write `:`"),
    ("guidance: 7,5", "write `7.5`"),
    ("guidance: –1", "`–` is U+2013, an en dash; write `-`"),
    ('steps: "9"', "write `9`"),
    ("steps: 20 steps", "write `20`"),
    ("steps: ２０", "`２` is U+FF12, full-width; write `20`"),
    ("steps: 2О", "write `20`"),
    ("loras: [blueprint@–0.5]", "`–` is U+2013, an en dash; write `-`"),
    ("рrompt: a cat", "`р` is U+0440, Cyrillic; write `prompt`"),
    ("\u00a0steps: 4", "U+00A0 is a no-break space; write `steps`"),
    ("model: sdxl\u00a0", "U+00A0 is a no-break space; write `sdxl`"),
    ("model: z‑image", "`‑` is U+2011, a non-breaking hyphen; write `-`"),
    ("axes: {thing: [mug]}\n  prompt: a {thіng}", "`і` is U+0456, Cyrillic; write `thing`"),
    ("axes: {thing: [mug]}\n  prompt: a {thng}", "did you mean `thing`?"),
    ("axes: {who: [{name: ana, look: red}]}\n  prompt: a {look}", "did you mean `who.look`?"),
    ("axes: {who: [{name: ana, look: red}]}\n  prompt: a {who.lok}", "did you mean `look`?"),
    ("axes: {bg: [oak]}\n  prompt: a {bg.look}", "write `{bg}`"),
    ("axes: {bg: [red, #ff0000, blue]}", '`#` starts a comment here; write `"#ff0000"`'),
    ("axes:\n    bg:\n    - red\n    - #ff0000", '`#` starts a comment here; write `"#ff0000"`'),
    ("axes:\n    bg: [red,\n      #ff0000,\n      blue]", '`#` starts a comment here; write `"#ff0000"`'),
    ("axes:\n    p:\n    - name: a\n      color: #ff0000", '`#` starts a comment here; write `"#ff0000"`'),
    ("negative: #ff0000", '`#` starts a comment here; write `"#ff0000"`'),
    ("top limits: {max_cost: $3}", "write `3`"),
    ("top limits: {max_cost: 3 EUR}", "write `3`"),
    ("top limits: {max_cost: '3,50 €'}", "write `3.50`"),
    ("top limits: {max_cost: 3,50}", "unknown key `50`: a comma ends `max_cost: 3`; write `max_cost: 3.50`"),
    ("size: {aspect: 2:3, megapixels: 1,5}", "write `megapixels: 1.5`"),
    ("top limits: {max_images: 20\u00a0000}", "write `20000`"),
    ("top limits: {max_images: 20_000}", "write `20000`"),
    ("top limits: {max_images: 10k}", "write `10000`"),
    ("top output: {format: webp, quality: 90%}", "write `90`"),
    ("top output: {format: jpg}", "did you mean `jpeg`?"),
    ("top output: {format: PNG}", "did you mean `png`?"),
    ("top output: {format: .webp}", "did you mean `webp`?"),
    ("top output: {metadata: no}", "write `false`"),
    ("top output: {metadata: Yes}", "write `true`"),
    ("top output: {filename: cat}", "write `name: cat`"),
    ("top use: commercial use", "did you mean `commercial`?"),
    ("top use: non-commercial", "did you mean `noncommercial`?"),
    ("top lane: my lane", "write `my-lane`"),
    ("top name: Weihnachtsgrüße", "write `Weihnachtsgrue"),
    ("top seed: 42", "write `seeds: [42]` under `defaults:`"),
    ("top steps: 4", "write `steps: 4` under `defaults:`"),
    ("top limits: {budget: 3}", "write `max_cost: 3`"),
    ("axes: {who: {name: ana, look: red}}", "write `[{name: ana, look: red}]`"),
    ("axes: {steps: [4-8]}", "write `steps: {from: 4, to: 8}`"),
    ("axes: {steps: 4-8}", "write `{from: 4, to: 8}`"),
    ("axes: {n: {from: 1, to: 10, by: 2}}", "write `step: 2`"),
    ("axes: {n: {start: 1, to: 10}}", "write `from: 1`"),
    ("axes:\n  - bg: [x, y]\n  - fg: [a]", "write `{bg: [x, y], fg: [a]}`"),
    ("axes: {bg: [x, y], fg: [a, b]}\n  zip: bg, fg", "write `[[bg, fg]]`"),
    ("axes: {bg: [x, y], fg: [a, b]}\n  zip: {bg: fg}", "write `[[bg, fg]]`"),
    ("axes: {bg: [x, y], fg: [a, b]}\n  exclude: {bg: x}", "write `[{bg: x}]`"),
    ("axes: {bg: [x, y], fg: [a, b]}\n  include: {bg: z, fg: c}", "write `[{bg: z, fg: c}]`"),
    ("axes: {size: [512*512, 64x64]}", "write `512x512`"),
    ("top limits: 400", "write `{max_images: 400}`"),
    ("top output: webp", "write `{format: webp}`"),
    ('top output: "{seed}.png"', 'write `{name: "{seed}.png"}`'),
    ("guidance: auto", "remove it to use the model's default"),
    ("guidance: 7.5x", "write `7.5`"),
    ("steps: 20s", "write `20`"),
    ("seeds: [1-4]", "write `seeds: {start: 1, count: 4}`"),
    ("seeds: {count: 4, start: -1}", "write `mode: random`"),
    ("seeds: {count: random, mode: random}", "remove it, since `mode` already sets it"),
    ("seeds: {count: 4, seed: 7}", "write `start: 7`"),
    ("seeds: {values: [1, 2]}", "write `seeds: [1, 2]`"),
    ("seed: 18446744073709551615", "use `seeds`"),
    ("loras: [{name: blueprint, strength: 0.8}]", "write `weight: 0.8`"),
    ("loras: [{lora: blueprint, weight: 0.8}]", "write `name: blueprint`"),
    ("size: {width: 512}", "write `{width: 512, height: 512}`"),
    ("size: {aspect: portrait}", "write `2:3`"),
    ("style: noir", 'write `prompt: "a cat, noir"` instead'),
    ("negative: {a: b}", r"put it in quotes: '\{a: b\}'"),
    ("title: a", "remove it, since `name` already sets it"),
    ("variants: Combinatorial", "did you mean `combinatorial`?"),
    ("variants: random_", "did you mean `random`?"),
    ("variants: all", "write `combinatorial`"),
    ("variants: 4", "for 4 images of each combination write `seeds: 4`"),
    ("strategy: {matrix: {bg: [white, oak]}}", "write `axes: {bg: [white, oak]}`"),
    ("vars: {bg: white}", "write `axes: {bg: [white]}`"),
    ("axes: {a: [x, y], b: [p, q]}\n  combine: zip", "write `zip: [a, b]`"),
    ("axes: {a: [x, y], b: [p, q]}\n  mode: parallel", "write `zip: [a, b]`"),
    ("axes: {a: [x, y], b: [p, q]}\n  pairs: [[a, b]]", "write `zip: [[a, b]]`"),
    ("axes: {a: [x, y], b: [p, q]}\n  mode: product", "remove it, since axes multiply"),
    ("axes: {a: [x, y], b: [p, q]}\n  cross: [a, b]", "remove it, since axes multiply"),
    ("axes: {a: [x, y], b: [p, q]}\n  skip: [{a: x}]", "write `exclude: [{a: x}]`"),
    ("axes: {a: [x, y], b: [p, q]}\n  only: [{a: x}]", "list what to leave out under `exclude`"),
    ("axes: {a: [x, y]}\n  where: a == x", "list what to leave out under `exclude`"),
    ("axes: {a: [x, y]}\n  mode: combinatorial", "write `variants: combinatorial`"),
    ("axes: {a: [x, y]}\n  sample: 3", "every combination is rendered"),
    ("n: 4", "write `seeds: 4`"),
    ("lora: [blueprint:0.8]", "write `loras: [blueprint@0.8]`"),
    ("orientation: portrait", "write `size: {aspect: 2:3}`"),
    ("enabled: false", "put `# ` in front of each line to ignore"),
    ("notes: later", "make it a comment"),
    ("prompts: [a mug, a lamp]", "write `prompt: [a mug, a lamp]` under `axes:`"),
    ("filename_prefix: mug", 'write `output: {name: "mug-{index}"}`'),
    ("output_dir: out", 'write `output: {name: "out/{group}-{index}"}`'),
    ("output: {folder: out}", 'write `name: "out/{group}-{index}"`'),
    ("output: out/", 'write `{name: "out/{group}-{index}"}`'),
    ("size: 1,024x768", "write `1024x768`"),
    ("size: A4", "write `{aspect: 210:297}`"),
    ("size: 21 x 29,7 cm", "write `{aspect: 21:29.7}`"),
    ("size: 4K", "write `3840x2160`"),
    ("seeds: {from: 1, to: 10, step: 3}", "write `seeds: [1, 4, 7, 10]`"),
    ("top priority: high", "write `80`"),
    ("top priority: 1000", "write `100`"),
    ("top random_seed: -1", "remove it, and submit with `--reroll`"),
    ("top use: personal", "write `noncommercial`"),
    ("top output: {metadata: none}", "write `false`"),
    ("top presets: [{name: film, steps: 8}]", "write `{film: {steps: 8}}`"),
    ('top presets: {film: "film of {prompt}"}', 'write `{prompt: "film of {prompt}"}`'),
    ("top styles: {film: {steps: 8}}", "did you mean `presets`?"),
    ("top wildcards: {w: hat}", "write `[hat]`"),
    ("top wildcards: {w: {hat: 2, cap: 1}}", "write `[2::hat, 1::cap]`"),
    ("axes: {a: {range: [1, 5]}}", "write `{from: 1, to: 5}`"),
    ("axes: {a: {min: 1, max: 5, count: 3}}", "write `{from: 1, to: 5, step: 2}`"),
    ("axes: {a: {choices: [x, y]}}", "write `[x, y]`"),
    (
        "axes: {a: {ana: {look: red}, bo: {look: blue}}}",
        "write `[{name: ana, look: red}, {name: bo, look: blue}]`",
    ),
    ("axes:\n    a: |\n      x, y\n      z", 'write `["x, y", z]`'),
]


def manifest(lines: str) -> str:
    """A manifest of one group with these lines, which replace its own."""
    top = lines.removeprefix("top ") if lines.startswith("top ") else ""
    own = "" if top else lines
    rest = {"model": "shotfarm-demo", "prompt": "a cat"}
    if own.startswith("рrompt"):
        del rest["prompt"]
    if own.startswith(("checkpoint", "model_name")):
        del rest["model"]
    keys = set(re.findall(r"^ *(\w+):", own, re.MULTILINE))
    kept = [f"  {key}: {value}" for key, value in rest.items() if key not in keys]
    group = ["- name: g", *kept, *([f"  {own}"] if own else [])]
    return "\n".join(["version: 1", *([top] if top else []), "shots:", *group, ""])


@pytest.mark.parametrize(("lines", "words"), CASES, ids=[case[0] for case in CASES])
def test_a_remedy_makes_the_manifest_right(lines: str, words: str) -> None:
    content = manifest(lines)
    (problem,) = problems_of(content, None)
    assert words in problem.message
    mended = remedied(content, problem)
    if mended is not None and lines != "guidance: –1":
        assert problems_of(mended, None) == (), mended


HEAD = "version: 1\ndefaults: {model: shotfarm-demo}\n"

#: Whole manifests in which something only looks like YAML or like a frame, and part of the message.
LOOKS_RIGHT = [
    (
        "version: 1\nshots:\n- model: sdxl\n\u00a0\u00a0prompt: a cat\n",
        "U+00A0 is a no-break space; write ` `",
    ),
    (
        "version: 1\nshots:\n- model: sdxl\n  \u00a0prompt: a cat\n",
        "U+00A0 is a no-break space; write `prompt`",
    ),
    ("version: 1\nshots:\n-\u00a0model: sdxl\n  prompt: a cat\n", "U+00A0 is a no-break space; write ` `"),
    ("version: 1\nshots:\n- model: sdxl\n  prompt:\u00a0a cat\n", "U+00A0 is a no-break space; write ` `"),
    (
        "\u00a0version: 1\nshots:\n- {model: sdxl, prompt: a cat}\n",
        "U+00A0 is a no-break space; write `version`",
    ),
    (
        "version: 1\nshots:\n- model: sdxl\n  prompt\uff1a a cat\n",
        "`\uff1a` is U+FF1A, full-width; write `:`",
    ),
    (
        "version: 1\nshots:\n- model\uff1asdxl\n  prompt: a cat\n",
        "`\uff1a` is U+FF1A, full-width; write `: `",
    ),
    (
        "version\uff1a 1\nshots:\n- {model: sdxl, prompt: a cat}\n",
        "`\uff1a` is U+FF1A, full-width; write `:`",
    ),
    (
        "version: 1\nshots:\n- {model: sdxl\uff0c prompt: a cat}\n",
        "`\uff0c` is U+FF0C, full-width; write `, `",
    ),
    (
        "version: 1\nshots:\n\u2013 model: sdxl\n  prompt: a cat\n",
        "`\u2013` is U+2013, an en dash; write `-`",
    ),
    ("version: 1\nshots:\n\u2022 model: sdxl\n  prompt: a cat\n", "`\u2022` is U+2022, a bullet; write `-`"),
    (
        "version: 1\nshots:\n\ufeff- model: sdxl\n  prompt: a cat\n",
        "U+FEFF is a zero width no-break space; remove it",
    ),
    (
        "version: 1\nshots:\n- model: sdxl\n  \u200bprompt: a cat\n",
        "U+200B is a zero width space; write `prompt`",
    ),
    (
        "version: 1\nshots:\n- model: sdxl\n  prompt: \u201ca cat: grey\u201d\n",
        '`\u201c` is U+201C, a left double quotation mark; write `"a cat: grey"`',
    ),
    (
        'version: 1\nshots:\n- model: sdxl\n  prompt: "a cat\u201d\n',
        '`\u201d` is U+201D, a right double quotation mark; write `"`',
    ),
    ("version: 1\nshots:\n- model: sdxl\n  prompt:a cat\n", "write `prompt: a cat`"),
    ("version = 1\nshots:\n- {model: sdxl, prompt: a cat}\n", "write `version: 1`"),
    ("version: 1\njobs:\n- {model: sdxl, prompt: a cat}\n", "did you mean `shots`?"),
    ("version: 1\nshot:\n- {model: sdxl, prompt: a cat}\n", "did you mean `shots`?"),
    ("version: 1\ndefaults: {model: sdxl}\nshots: [a cat]\n", "write `{prompt: a cat}`"),
    ("version: 1\nshots:\n- prompt:a cat\ndefaults: {model: sdxl}\n", "write `prompt: a cat`"),
    (f"{HEAD}shots: {{prompt: a mug, seeds: 3}}\n", "write `[{prompt: a mug, seeds: 3}]`"),
    (f"{HEAD}shots: {{mugs: {{prompt: a mug}}}}\n", "write `[{name: mugs, prompt: a mug}]`"),
    (f"{HEAD}prompt: a mug\n", "write `shots: [{prompt: a mug}]`"),
    (f"{HEAD}prompts: [a mug, a lamp]\n", "write `shots: [{axes: {prompt: [a mug, a lamp]}}]`"),
]


def is_text(path: Path) -> bool:
    try:
        path.read_text()
    except UnicodeDecodeError:
        return False
    return True


#: Their remedies let the parser see what else is wrong.
SHOWS_MORE = ("prompt-is-mapping.yaml", "shots-is-mapping.yaml")


@pytest.mark.parametrize(("content", "words"), LOOKS_RIGHT, ids=[words for _, words in LOOKS_RIGHT])
def test_what_only_looks_like_a_manifest_is_named_with_what_makes_it_one(content: str, words: str) -> None:
    (problem,) = problems_of(content, None)
    assert words in problem.message
    mended = remedied(content, problem)
    assert mended is not None
    assert problems_of(mended, None) == (), mended


@pytest.mark.parametrize(
    "groups",
    ["groups:\n- {prompt: a cat}", "Groups: {cats: {prompt: a cat}}", "group: {prompt: a cat}", "groups:"],
)
@pytest.mark.parametrize("shots", ["", "shots: [{prompt: a dog}]"])
def test_groups_are_renamed_to_shots_unless_there_are_some(groups: str, shots: str) -> None:
    (problem,) = problems_of(f"version: 1\ndefaults: {{model: sdxl}}\n{groups}\n{shots}\n", None)
    assert problem.message.endswith("; rename it to `shots`") == (not shots)


@pytest.mark.parametrize("name", sorted(path.name for path in BROKEN.glob("*.yaml") if is_text(path)))
def test_a_remedy_of_a_broken_manifest_ends_its_problem(name: str) -> None:
    content = (BROKEN / name).read_text()
    files = FileReader(BROKEN)
    before = problems_of(content, files)
    for problem in before:
        mended = remedied(content, problem)
        if mended is None:
            continue
        after = {each.message for each in problems_of(mended, files)}
        assert name in SHOWS_MORE or after <= {each.message for each in before if each != problem}, mended


@pytest.mark.parametrize(
    "key", ["text", "cfg", "filename", "style", "colour", "limits", "lora", "title", "prompts"]
)
@pytest.mark.parametrize(
    "value", ["x" * 5000, "[" + "x, " * 2000 + "]", "{a: " + "y" * 900 + "}", "1, " * 900]
)
def test_a_message_stays_short_whatever_it_is_about(key: str, value: str) -> None:
    for content in (manifest(f"{key}: {value}"), manifest(f"top {key}: {value}")):
        assert all(len(problem.message) < 500 for problem in problems_of(content, None))


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        ("colours.txt", "write `{file: colours.txt}`"),
        ('"@colours.txt"', "write `{file: colours.txt}`"),
        ("[{file: colours.txt}]", "write `{file: colours.txt}`"),
        ("{files: [colours.txt]}", "write `{file: colours.txt}`"),
        (r"{file: lists\more.txt}", "did you mean `lists/more.txt`?"),
        ("colours", "write `{list: colours}`"),
    ],
)
def test_a_file_or_list_named_where_values_belong_is_told_as_one(
    axis: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "lists").mkdir()
    for name in ("colours.txt", "lists/more.txt"):
        (tmp_path / name).write_text("red\n")
    content = (
        "version: 1\nlists: {colours: [red]}\nshots:\n"
        f'- {{model: sdxl, prompt: "a {{c}}", axes: {{c: {axis}}}}}\n'
    )
    (problem,) = problems_of(content, FileReader(tmp_path))
    assert words in problem.message

"""What is wrong with shots, and what is doubtful: told once, at its place, with what was meant."""

from __future__ import annotations

import pytest

from common.errors import InvalidDocument
from tests.unit.expand.making import TWO, expanded, group


def named(pattern: str, *lines: str) -> str:
    return group(*lines, top=f"output: {{name: '{pattern}'}}")


THING = "axes: {scene: [sea], who: [{name: ana, look: red}], pose: [{leg: up, arm: down}]}"
PERSONA = "axes: {persona: [{name: ana}]}"
TENS = "{from: 1, to: 10000}"
EPOCHS = "wildcards: {epoch: [Gothic, 1920s, '{early|late} Baroque']}\noutput: {name: '{x}-{index}'}"
#: A manifest; the place of each of its problems, else of its warnings, and what they say (… stands for more).
TOLD = [
    (group("loras: [ana]", "axes: {ana: [x]}"), "7:10: shots[0].axes.ana: `ana` is a LoRA of this group"),
    (
        group("axes: {steps: [4, 8]}", "exclude: [{steps: 9}]"),
        "7:13: shots[0].exclude[0]: … no value of `steps` is `9`",
    ),
    (
        group("axes: {a: [white, red]}", "exclude: [{a: whit}]", prompt="'{a}'"),
        "7:13: shots[0].exclude[0]: … no value of `a` is `whit`: did you mean `white`?",
    ),
    (group("axes: {format: [png, webp]}"), "6:10: shots[0].axes.format: `format` changes no image"),
    (
        group("axes: {a: {from: 1, to: 2000000}}", prompt="'{a}'", top="limits: {max_images: 1000000000}"),
        "7:13: shots[0].axes.a: has 2,000,000 values",
    ),
    (
        group("axes: {a: [x]}", "exclude: [{a: x}]"),
        "7:3: shots[0].exclude: excludes all combinations of this group",
    ),
    (
        group(f"axes: {{a: {TENS}, b: {TENS}, c: {TENS}}}"),
        "3:3: shots[0]: … group `g` multiplies 10,000 a × 10,000 b × 10,000 c × 1 seed",
    ),
    (group("seeds: 10001"), "6:10: shots[0].seeds: requests 10,001 images"),
    (
        group("variants: combinatorial", prompt=f"'{'{a|b}' * 40}'"),
        "3:3: shots[0]: requests 1,099,511,627,776 images",
    ),
    (
        group("axes: {a: {from: 1, to: 200}, b: {from: 1, to: 200}}", "exclude: [{a: 1}]"),
        "3:3: shots[0]: requests 40,000 images",
    ),
    (
        group(f"axes: {{a: {TENS}}}", "include: [{a: new}]"),
        "3:3: shots[0]: … multiplies 10,000 a × 1 seed, and `include` adds 1",
    ),
    (
        group(
            "variants: combinatorial", "axes: {a: [x, y]}", "exclude: [{a: x}]", prompt=f"'{'{a|b}' * 13}'"
        ),
        "3:3: shots[0]: requests 16,384 images",
    ),
    (
        group(
            "axes: {a: {from: 1, to: 9000}, b: {from: 1, to: 9000}}",
            "zip: [[a, b]]",
            "seeds: 2",
            "variants: combinatorial",
        ),
        "3:3: shots[0]: … multiplies 9,000 a+b × 2 seeds × variants",
    ),
    (
        group("seeds: 6001") + "\n- {name: h, model: sdxl, prompt: x, seeds: 6000}",
        "3:3: shots[0]: requests 12,001 images",
    ),
    (named("{personna}", PERSONA), "2:17: output.name: … {personna}: did you mean `persona`?"),
    (
        named("{persona.nam}", PERSONA),
        "2:17: output.name: {persona.nam}: no value of `persona` has a field `nam`: did you mean `name`?",
    ),
    (named("{a|b}", PERSONA), "2:16: output.name: variants and wildcards are not allowed"),
    (named("__w__", PERSONA), "2:16: output.name: variants and wildcards are not allowed"),
    (named("{x", PERSONA), "2:17: output.name: this brace is never closed"),
    (named("{trigger}", PERSONA), "2:17: output.name: unknown reference {trigger}"),
    (
        named("[c]-{seed}", "axes: {c: [red]}"),
        "2:16: output.name: `[c]` is plain text in a name; write `{c}`",
    ),
    (
        named("[seed]-{c}", "axes: {c: [red]}"),
        "2:16: output.name: `[seed]` is plain text in a name; write `{seed}`",
    ),
    (named("%c%", "axes: {c: [red]}"), "2:16: output.name: `%c%` is plain text in a name; write `{c}`"),
    (named("$c", "axes: {c: [red]}"), "2:16: output.name: `$c` is plain text in a name; write `{c}`"),
    (
        named("{c}-%04d", "axes: {c: [red]}"),
        "2:16: output.name: `%04d` is plain text in a name; write `{index}`",
    ),
    (
        named("{c}-{seed:04d}", "axes: {c: [red]}"),
        "2:21: output.name: `{seed:04d}`: number formats are not supported; write `{seed}`",
    ),
    (named("out\\{c}", "axes: {c: [red]}"), "2:23: output.name: a `\\` escapes the following brace"),
    (named("/out/{seed}"), "2:16: output.name: … relative to the folder of the job"),
    (named("../{seed}"), "2:16: output.name: … relative to the folder of the job"),
    (named("{seed}.tiff"), "2:16: output.name: `.tiff` remains part of the name"),
    (
        named("{c}-{index}", "axes: {c: [x]}") + "\n- {name: h, model: sdxl, prompt: x}",
        "2:17: output.name: group `h` has no {c}",
    ),
    (
        group(top="output: {name: '{seed}.jpg', format: webp}"),
        "2:16: output.name: `.jpg` is removed: `output.format` is webp",
    ),
    (
        named("{v}", "axes: {v: [a.jpg, b.jpg, c.png]}", "negative: '{v}'", "guidance: 3"),
        "2:16: output.name: `.jpg` is removed: `output.format` is png",
    ),
    (
        named("x" * 190 + "{v}", "axes: {v: [a]}"),
        "2:16: output.name: leaves no space for its values within 200 bytes",
    ),
    (
        TWO.format(top="{index}", first="{p}", second="name: '{qq}'"),
        "6:69: shots[1].output.name: unknown reference {qq}",
    ),
    (group(THING, prompt="'{scnee}'"), "5:12: shots[0].prompt: … {scnee}: did you mean `scene`?"),
    (
        group(THING, prompt="'on {who.lok}'"),
        "5:15: shots[0].prompt: {who.lok}: no value of `who` has a field `lok`: did you mean `look`?",
    ),
    (
        group(THING, prompt="'on {scene.look}'"),
        "5:15: shots[0].prompt: {scene.look}: `sea` is plain text without fields; write `{scene}`",
    ),
    (
        group(THING, prompt="'{pose}'"),
        "5:12: shots[0].prompt: {pose} is a mapping without `name`; write one of `{pose.leg}`, `{pose.arm}`",
    ),
    (group(THING, prompt="'a {seed}'"), "5:14: shots[0].prompt: {seed} is available only in `output.name`"),
    (group(THING, prompt="'a {anna.trigger}'"), "5:14: shots[0].prompt: unknown reference {anna.trigger}"),
    (group(THING, prompt="'{a|{scnee}}'"), "5:15: shots[0].prompt: unknown reference {scnee}"),
    (
        group("axes: {bg: [oak, sea]}", "include: [{bg: oak, mood: calm}]", prompt="'{bg} {mood}'"),
        "5:17: shots[0].prompt: {mood} has no value where bg is sea",
    ),
    (
        group("axes: {x: {values: [fine, 'a {b'], expand: true}}", prompt="'{x}'"),
        "6:32: shots[0].axes.x[1]: … never closed",
    ),
    (
        group("axes: {x: {values: ['{y}'], expand: true}, y: [z]}", prompt="'{x}'"),
        "6:24: shots[0].axes.x[0]: {y} is in an axis value",
    ),
    (
        group("axes: {x: {values: ['{y}', '{9$$__epoch__}'], expand: true}, y: [z]}", top=EPOCHS),
        "8:24: shots[0].axes.x[0]: {y} is in an axis value\n"
        "8:31: shots[0].axes.x[1]: requests 9 different lines of a wildcard that has 3",
    ),
    (
        group(f"axes: {{a: [{'x' * 3000}]}}", prompt=f"'{'{a}' * 8}'"),
        "5:11: shots[0].prompt: … longer than 20,000 characters",
    ),
    (
        group("loras: [silent]", prompt="'{ana.trigger} waves'"),
        "5:12: shots[0].prompt: {ana.trigger}: no shot of group `g` has the LoRA `ana`",
    ),
    (
        group("axes: {steps: [4, 5]}", "negative: blurry", model="flux2-klein-4b"),
        "7:13: shots[0].negative: `flux2-klein-4b` ignores negative prompts",
    ),
    (
        group("axes: {steps: [4, 5]}", "negative: blurry", "guidance: 0"),
        "7:13: shots[0].negative: has no effect on `z-image-turbo` at guidance 0",
    ),
    (
        group("axes: {guidance: [0, 1], steps: [4, 5]}", "size: 1000x1000"),
        "7:9: shots[0].size: 1000x1000 is rounded to 1008x1008",
    ),
    (
        group("loras: [ana]", model="z-image"),
        "6:3: shots[0].loras: LoRA `ana` was made for `z-image-turbo`; on `z-image` it may",
    ),
    (
        group("loras: [ana]", model="sdxl"),
        "6:3: shots[0].loras: LoRA `ana` was made for `z-image-turbo` and cannot work on `sdxl`",
    ),
    (group("loras: [ana]", model="flux2-klein-4b"), "6:3: shots[0].loras: … cannot work on `flux2-klein-4b`"),
    (
        group("loras: [small]", model="flux2-klein-9b"),
        "6:3: shots[0].loras: … cannot work on `flux2-klein-9b`",
    ),
    (group(model="z-imag"), "4:10: shots[0].model: … `z-imag`: did you mean `z-image`?"),
    (group("loras: [anna]"), "6:11: shots[0].loras[0]: … `anna`: did you mean `ana`?"),
    (group("sampler: eula"), "6:12: shots[0].sampler: … has no sampler `eula`"),
    (
        group("sampler: plms"),
        "6:12: shots[0].sampler: `z-image-turbo` has no sampler `plms`; it has `euler`, "
        "`euler_karras`, … `res_multistep`, … and `lcm`",
    ),
    (
        group("sampler: ddim"),
        "6:12: shots[0].sampler: `z-image-turbo` has no sampler `ddim`; write `euler`, which does the same",
    ),
    (
        group("sampler: lcm", "steps: 60", model="sdxl"),
        "7:10: shots[0].steps: sampler `lcm` takes at most 50 steps, not 60",
    ),
    (group("sampler: lcm_karras", model="sdxl"), "6:12: shots[0].sampler: … has no sampler `lcm_karras`"),
    (group("blind_steps: 9"), "6:16: shots[0].blind_steps: `blind_steps` of `z-image-turbo` must be 0 to 2"),
    (group("shift: 3", model="sdxl"), "6:10: shots[0].shift: `sdxl` does not take `shift`"),
]


@pytest.mark.parametrize(("manifest", "wanted"), TOLD)
def test_a_mistake_is_told_once_at_its_place(manifest: str, wanted: str) -> None:
    try:
        found = expanded(manifest).warnings
    except InvalidDocument as error:
        found = error.problems
    for told, want in zip(found, wanted.splitlines(), strict=True):
        assert [part for part in f"m.yaml:{want}".split("… ") if part not in told.at("m.yaml")] == []


@pytest.mark.parametrize(
    "manifest",
    [
        # An axis that matters.
        group("axes: {c: [red]}"),
        group("axes: {c: [red, blue]}", "seeds: {count: 2, mode: increment}"),
        group("axes: {c: [red, blue]}", "include: [{c: red, steps: 3}]"),
        group("axes: {c: [red, blue], steps: [3, 4]}", "zip: [[c, steps]]"),
        group("axes: {c: [red, blue]}", "negative: '{c}'", "guidance: 5"),
        # Signs that name nothing in the pattern of a name.
        *(named(pattern, "axes: {c: [red]}") for pattern in ("[final] {c}", "100% {c}", "$5 {c}", "{c} <3")),
        group("size: 1024x1024"),
        # A pattern that every group replaces is not read.
        TWO.format(top="{nothing}", first="{p}", second="name: '2{q}'"),
    ],
)
def test_what_is_right_is_not_told_of(manifest: str) -> None:
    assert expanded(manifest).warnings == ()

"""`extends`: what a manifest takes from another file, whose places stay in every finding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.catalog import load_catalog
from common.errors import InvalidDocument
from common.manifest.composition import MAX_BASES, MAX_DEPTH, MERGED
from common.manifest.files import FileReader
from common.manifest.inline import inlined
from common.manifest.model import Limits, Output, Size
from common.manifest.parse import ParsedManifest, parse_manifest
from coordinator.expand import expand

SHOTS = "shots: [{prompt: a mug}]\n"


def parse(folder: Path, content: str, source: str = "m.yaml", **options: Any) -> ParsedManifest:
    return parse_manifest(f"version: 1\n{content}", source=source, files=FileReader(folder), **options)


def problems(folder: Path, content: str, source: str = "m.yaml", **options: Any) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        parse(folder, content, source, **options)
    return str(caught.value).split("\n")


def base(folder: Path, content: str, name: str = "base.yaml") -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(f"version: 1\n{content}")


def test_parts_made_of_keys_add_up_and_all_others_are_replaced(tmp_path: Path) -> None:
    base(
        tmp_path,
        "name: base\nlane: slow\npriority: 3\ndefaults: {model: a, steps: 4, loras: [x], size: 64x64}\n"
        "output: {format: webp, quality: 80}\nlimits: {max_images: 7}\n"
        "wildcards: {job: [baker], sky: [blue]}\nshots: [{prompt: a lamp}, {prompt: a key}]\n",
    )
    manifest = parse(
        tmp_path,
        "extends: base.yaml\ndefaults: {model: b, loras: [y], size: {aspect: 1:1}}\npriority: 9\n"
        f"output: {{quality: 90}}\nwildcards: {{job: [smith]}}\n{SHOTS}",
    ).manifest
    assert (manifest.lane, manifest.priority, manifest.name) == ("slow", 9, None)
    assert (manifest.defaults.model, manifest.defaults.steps) == ("b", 4)
    assert [lora.name for lora in manifest.defaults.loras] == ["y"]
    assert manifest.defaults.size == Size(aspect=(1, 1))
    assert manifest.output == Output(format="webp", quality=90)
    assert manifest.limits == Limits(max_images=7)
    assert manifest.wildcards == {"job": ("smith",), "sky": ("blue",)}
    assert [group.prompt for group in manifest.shots] == ["a mug"]


@pytest.mark.parametrize(
    ("bases", "content", "taken"),
    [
        (
            {"base.yaml": "version: 1\ndefaults: {model: a}\nshots: [{prompt: a lamp}]\n"},
            "extends: base.yaml\n",
            ("a", None, None, "a lamp"),
        ),
        # A later base goes over an earlier one.
        (
            {
                "a.yaml": "version: 1\ndefaults: {model: a, steps: 4}\n",
                "b.yaml": "version: 1\ndefaults: {model: b, guidance: 2}\n",
            },
            f"extends: [a.yaml, b.yaml]\n{SHOTS}",
            ("b", 4, 2, "a mug"),
        ),
        (
            {"base.json": '{"version": 1, "defaults": {"model": "a"}}'},
            f"extends: base.json\n{SHOTS}",
            ("a", None, None, "a mug"),
        ),
    ],
)
def test_what_is_not_written_is_taken_from_the_bases(
    bases: dict[str, str], content: str, taken: object, tmp_path: Path
) -> None:
    for name, text in bases.items():
        (tmp_path / name).write_text(text)
    manifest = parse(tmp_path, content).manifest
    (group,), defaults = manifest.shots, manifest.defaults
    assert (defaults.model, defaults.steps, defaults.guidance, group.prompt) == taken


def test_a_base_reads_its_files_and_wildcards_from_its_own_folder(tmp_path: Path) -> None:
    base(
        tmp_path,
        "defaults: {model: a, negative: __junk__}\nlists: {things: {file: lists/things.txt}}\n",
        "shared/base.yaml",
    )
    (tmp_path / "shared/lists").mkdir()
    (tmp_path / "shared/lists/things.txt").write_text("mug\nlamp\n")
    for folder, line in ((tmp_path / "shared", "theirs"), (tmp_path, "mine")):
        (folder / "wildcards").mkdir()
        (folder / "wildcards/sky.txt").write_text(f"{line}\n")
    (tmp_path / "shared/wildcards/junk.txt").write_text("text\n")
    parsed = parse(
        tmp_path,
        "extends: shared/base.yaml\nshots: [{prompt: '{x} __sky__', axes: {x: {list: things}}}]\n",
    )
    assert parsed.manifest.shots[0].axes["x"].values == ("mug", "lamp")
    assert parsed.manifest.wildcards == {"junk": ("text",), "sky": ("mine",)}
    again = parse_manifest(inlined(parsed), source="inlined", files=None)
    assert again.manifest == parsed.manifest


def test_a_base_may_reach_up_to_the_manifests_folder_and_no_further(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "things.txt").write_text("mug\n")
    (tmp_path / "secret.txt").write_text("x\n")
    base(inner, "lists: {a: {file: ../things.txt}, b: {file: ../../secret.txt}}\n", "shared/base.yaml")
    shots = "extends: shared/base.yaml\nshots: [{model: m, prompt: '{x}', axes: {x: {list: %s}}}]\n"
    assert parse(inner, shots % "a").manifest.shots[0].axes["x"].values == ("mug",)
    (found,) = problems(inner, shots % "b")
    assert found.endswith(f"; pass `--root {tmp_path}` to allow it")
    assert parse_manifest(
        f"version: 1\n{shots % 'b'}", source="m.yaml", files=FileReader(inner, tmp_path)
    ).manifest


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("defaults: {stepz: 4}", "2:12: defaults.stepz: unknown key `stepz`: did you mean `steps`?"),
        ("defaults: {steps: four}", "2:19: defaults.steps: must be a whole number, not `four`"),
        ("defaults: {prompt: 'a {b'}", "2:23: defaults.prompt: this brace is never closed; write `\\{`"),
        ("defaults:\n  prompt: |\n    one\n    a {thng}", "5:7: defaults.prompt: unknown reference {thng}"),
        ("defaults: {prompt: a __sky__}", "2:22: defaults.prompt: unknown wildcard `__sky__`"),
        ("wildcards: {sky: [blue, '{a']}", "2:26: wildcards.sky[1]: this brace is never closed"),
        ("defaults: {model: shotfarm-dem}", "2:19: defaults.model: unknown model `shotfarm-dem`: did"),
        ("defaults: {sampler: eula}", "2:21: defaults.sampler: `shotfarm-demo` has no sampler `eula`"),
        ("defaults: {blind_steps: 3}", "2:25: defaults.blind_steps: `blind_steps` of"),
        ("output: {name: '{thng}'}", "2:17: output.name: unknown reference {thng}"),
        ("defaults: {steps: 4}\ndefaults: {steps: 5}", "3:1: defaults: `defaults` is given twice, first on"),
        ("lane: [a]", "2:7: lane: must be a name of letters"),
        ("lists: [a]", "2:8: lists: must be a mapping of names to values, not a list"),
        ("defaults: {steps: [4", "3:1: a `,` is missing here, or the `]` that closes"),
        ("defaults:\n  negative: #ff0000", "3:13: defaults.negative: `#` starts a comment"),
    ],
)
@pytest.mark.parametrize("place", ["", "shared/"])
@pytest.mark.parametrize("source", ["m.yaml", "jobs/m.yaml", "/srv/m.yaml", "standard input"])
def test_what_is_wrong_in_a_base_names_its_file_and_place(
    written: str, found: str, place: str, source: str, tmp_path: Path
) -> None:
    base(tmp_path, f"{written}\n", f"{place}base.yaml")
    content = f"version: 1\nextends: {place}base.yaml\nshots: [{{axes: {{x: [1, 2]}}}}]\n"
    if "prompt" not in written:
        content = content.replace("{axes", "{prompt: 'a {x}', axes")
    if "model" not in written:
        content = content.replace("[{", "[{model: shotfarm-demo, ")
    catalog = load_catalog()
    with pytest.raises(InvalidDocument) as caught:
        expand(parse_manifest(content, source=source, files=FileReader(tmp_path), catalog=catalog), catalog)
    shown = source.rpartition("/")[0]
    assert str(caught.value).startswith(f"{shown and shown + '/'}{place}base.yaml:{found}")
    assert "\n" not in str(caught.value)


def test_a_warning_of_a_base_names_its_file(tmp_path: Path) -> None:
    base(tmp_path, "defaults: {prompt: 'a (red:1.2) mug', negative: a mug #1\n  }\n")
    parsed = parse(tmp_path, "extends: base.yaml\nshots: [{model: shotfarm-demo}]\n", catalog=load_catalog())
    assert [warning.at("m.yaml")[:17] for warning in parsed.warnings] == [
        "base.yaml:2:55: d",
        "base.yaml:2:23: d",
    ]


def test_problems_are_told_by_file_and_then_by_place(tmp_path: Path) -> None:
    base(tmp_path, "lane: [a]\npriority: x\n", "a.yaml")
    base(tmp_path, "priority: 1\nlane: [b]\nextends: a.yaml\nuse: c\n", "b.yaml")
    found = problems(tmp_path, f"extends: b.yaml\nrandom_seed: d\n{SHOTS}")
    assert [each.rpartition(": ")[0].partition(": ")[0] for each in found] == [
        "m.yaml:3:14",
        "m.yaml:4:9",
        "b.yaml:3:7",
        "b.yaml:5:6",
    ]


@pytest.mark.parametrize(
    ("extends", "found"),
    [
        ("bas.yaml", "m.yaml:2:10: extends: file `bas.yaml` does not exist; did you mean `base.yaml`?"),
        ("../base.yaml", "m.yaml:2:10: extends: file `../base.yaml` is outside the manifest's folder"),
        ("[base.yaml, x.yaml]", "m.yaml:2:22: extends[1]: file `x.yaml` does not exist"),
        ("[]", "m.yaml:2:10: extends: must be a file name or a list of them, not an empty list"),
        ("{file: a}", "m.yaml:2:10: extends: must be a file name or a list of them, not a mapping"),
        ("", "m.yaml:2:9: extends: must be a file name or a list of them, not nothing"),
        ("[[base.yaml]]", "m.yaml:2:11: extends: must be a file name or a list of them, not a list"),
        ("list.yaml", "list.yaml:1:1: must be a mapping that starts with `version: 1`, not a list"),
        ("bare.yaml", "bare.yaml:1:1: `version` is missing; write `version: 1`"),
        ("two.yaml", "two.yaml:1:10: version: must be the number 1, not `2`"),
        ("empty.yaml", "empty.yaml:1:1: the file is empty"),
        ("m.yaml", "m.yaml:2:10: extends: `m.yaml` extends itself: m.yaml > m.yaml; remove one of them"),
        (
            "b.yaml",
            "c.yaml:2:10: extends: `b.yaml` extends itself: b.yaml > c.yaml > b.yaml; remove one of them",
        ),
        (str(["base.yaml"] * 101), "m.yaml:2:10: extends: lists 101 files; the limit is 100"),
    ],
)
def test_a_base_that_cannot_be_read_is_told_alone(extends: str, found: str, tmp_path: Path) -> None:
    base(tmp_path, "defaults: {model: a}\n")
    for name, content in (
        ("list.yaml", "- a"),
        ("bare.yaml", "defaults: {model: a}"),
        ("two.yaml", "version: 2\ndefaults: {model: a}"),
        ("empty.yaml", ""),
        ("m.yaml", "version: 1\nextends: m.yaml"),
        ("b.yaml", "version: 1\nextends: c.yaml"),
        ("c.yaml", "version: 1\nextends: b.yaml"),
    ):
        (tmp_path / name).write_text(content)
    # The model, the list and the shots may stand in the file that is missing.
    more = "defaults: {steps: 4}\nshots: [{prompt: '{x}', axes: {x: {list: y}}}]\n"
    told = problems(tmp_path, f"extends: {extends}\n{'' if extends == 'b.yaml' else more}")
    assert len(told) == (2 if extends in ("bare.yaml", "two.yaml") else 1)
    assert told[-1].startswith(found)


def test_bases_nest_to_a_depth(tmp_path: Path) -> None:
    for number in range(MAX_DEPTH + 1):
        extends = f"extends: b{number + 1}.yaml\n" if number < MAX_DEPTH else ""
        base(tmp_path, f"{extends}defaults: {{model: m{number}, steps: {number + 1}}}\n", f"b{number}.yaml")
    assert parse(tmp_path, f"extends: b1.yaml\n{SHOTS}").manifest.defaults.model == "m1"
    (found,) = problems(tmp_path, f"extends: b0.yaml\n{SHOTS}")
    assert found.startswith("b9.yaml:2:10: extends: `extends` is nested deeper than 10 files")


def test_bases_of_bases_are_read_once(tmp_path: Path) -> None:
    for number in range(MAX_DEPTH):
        base(tmp_path, f"extends: {[f'b{number + 1}.yaml'] * MAX_BASES}\n", f"b{number}.yaml")
    base(tmp_path, "defaults: {model: a}\n", f"b{MAX_DEPTH}.yaml")
    assert parse(tmp_path, f"extends: b1.yaml\n{SHOTS}").manifest.defaults.model == "a"


parts = st.fixed_dictionaries(
    {},
    optional={
        "defaults": st.fixed_dictionaries(
            {},
            optional={
                "model": st.sampled_from(["a", "b"]),
                "prompt": st.sampled_from(["a mug", "{x}, __sky__", "{x|y}", 'he said "no": # 1']),
                "negative": st.sampled_from(["", "no", "9:16"]),
                "loras": st.lists(st.sampled_from(["l@0.5", "k"]), unique=True),
                "steps": st.integers(1, 9),
                "seeds": st.sampled_from([2, [3, 4], {"start": 5, "count": 2}]),
            },
        ),
        "output": st.fixed_dictionaries({}, optional={"format": st.sampled_from(["png", "webp"])}),
        "limits": st.fixed_dictionaries({}, optional={"max_images": st.integers(50, 60)}),
        "wildcards": st.fixed_dictionaries({}, optional={"sky": st.just(["blue", "{red|grey}"])}),
        "lists": st.fixed_dictionaries(
            {}, optional={"x": st.sampled_from([["p", "q"], {"from": 1, "to": 3}, {"file": "list.txt"}])}
        ),
        "random_seed": st.integers(0, 9),
        "lane": st.sampled_from(["a", "b"]),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.lists(parts, min_size=1, max_size=4))
def test_extending_is_the_same_as_writing_all_of_it(files: list[dict[str, Any]], tmp_path: Path) -> None:
    """A chain of bases equals one manifest with their parts merged, before and after it is inlined."""
    (tmp_path / "list.txt").write_text("r\ns\n")
    shots = [{"axes": {"x": {"list": "x"}}, "prompt": "a {x} __sky__", "model": "c"}, {"prompt": "{a|b}"}]
    whole: dict[str, Any] = {"version": 1}
    for number, part in enumerate(files):
        extends = {"extends": f"b{number - 1}.yaml"} if number else {}
        (tmp_path / f"b{number}.yaml").write_text(yaml.safe_dump({"version": 1, **extends, **part}))
        for key, value in part.items():
            whole[key] = {**whole.get(key, {}), **value} if key in MERGED else value
    own = {"version": 1, "extends": f"b{len(files) - 1}.yaml", "shots": shots}
    outcomes = []
    for content in (own, {**whole, "shots": shots}):
        try:
            parsed = parse_manifest(yaml.safe_dump(content), source="m", files=FileReader(tmp_path))
        except InvalidDocument as error:
            outcomes.append(sorted(problem.message for problem in error.problems))
            continue
        outcomes.append([parsed.manifest])
        assert parse_manifest(inlined(parsed), source="again", files=None).manifest == parsed.manifest
    assert outcomes[0] == outcomes[1]

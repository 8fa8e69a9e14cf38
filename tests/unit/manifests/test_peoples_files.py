"""What people's own files mean: inputs after public bug reports and real files, with the right answers."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from openpyxl import Workbook

from common.errors import InvalidDocument
from common.settings import load_settings
from common.shot import PlannedShot
from coordinator.cli.main import main
from coordinator.cli.planning import make_plan, read_manifest

HEAD = "version: 1\ndefaults: {model: shotfarm-demo}\n"


@dataclass(frozen=True)
class Answer:
    """What `farm plan` makes of a manifest."""

    shots: list[PlannedShot] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def prompts(self) -> list[str]:
        assert not self.problems
        return [planned.shot.prompt for planned in self.shots]

    @property
    def names(self) -> list[str]:
        assert not self.problems
        return [planned.name for planned in self.shots]

    @property
    def problem(self) -> str:
        (problem,) = self.problems
        return problem

    def warned(self, *words: str) -> str:
        """The one warning that holds all of these words."""
        found = [warning for warning in self.warnings if all(word in warning for word in words)]
        assert len(found) == 1, self.warnings
        return found[0]


class Desk:
    """A folder with a manifest and the files beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, name: str, content: str | bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def plan(self, manifest: str, name: str = "m.yaml", head: str = HEAD) -> Answer:
        self.put(name, head + manifest)
        try:
            planned = make_plan(read_manifest(name, load_settings(None)))
        except InvalidDocument as error:
            return Answer(problems=str(error).splitlines())
        return Answer(list(planned.expansion), [], list(planned.report.warnings))

    def shots(self, *lines: str, top: str = "") -> Answer:
        """The plan of one group with these lines."""
        return self.plan(
            "\n".join([*filter(None, [top]), "shots:", f"- {lines[0]}", *(f"  {x}" for x in lines[1:])])
        )


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path)


# Text that crashed, or vanished.


@pytest.mark.parametrize(
    "prompt",
    [
        "a mug with the text [b]SALE[/b] and [/i]",
        "a mug, [low emphasis] on [white:red:0.5] table",
        "portrait of girl:dragon:0.5 and :smile:",
    ],
)
def test_markup_and_emoji_names_are_planned_and_shown_exactly(
    desk: Desk, prompt: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk.shots(f"prompt: {json.dumps(prompt)}").prompts == [prompt]
    monkeypatch.setattr("sys.argv", ["farm", "plan", "m.yaml"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert prompt in capsys.readouterr().out


def test_a_json_manifest_is_read_as_json(desk: Desk) -> None:
    shots = '[{"model": "shotfarm-demo", "prompt": "a \\ud83d\\ude00 mug"}]'
    text = f'{{"version": 1, "shots": {shots}}}'
    assert desk.plan(text, "m.json", head="").prompts == ["a 😀 mug"]


# Silently not what was asked.


def test_a_batch_csv_of_another_tool_sets_what_its_columns_say(desk: Desk) -> None:
    desk.put(
        "p.csv",
        "filename,prompt,negative_prompt,width,height,steps,cfg_scale\n"
        "00001-0-3.png,a red mug,blurry,512,768,20,7\n",
    )
    answer = desk.plan('output: {name: "{row.filename}"}\nshots:\n- axes: {row: {file: p.csv}}\n')
    (planned,) = answer.shots
    shot = planned.shot
    assert (shot.prompt, shot.negative, shot.width, shot.height) == ("a red mug", "blurry", 512, 768)
    assert (shot.steps, shot.guidance, planned.name) == (20, 7.0, "00001-0-3")
    answer.warned("negative_prompt", "width", "cfg_scale")


def test_headings_in_capitals_set_fields_too(desk: Desk) -> None:
    desk.put("p.csv", "Name,Text,Size,Steps,Negative,Loras\nx,a mug,96x128,4,blurry,blueprint@1\n")
    answer = desk.shots('prompt: "{p.Text}"', "axes: {p: {file: p.csv}}")
    (planned,) = answer.shots
    shot = planned.shot
    assert (shot.width, shot.height, shot.steps, shot.negative) == (96, 128, 4, "blurry")
    assert [use.name for use in shot.loras] == ["blueprint"]


@pytest.mark.parametrize(
    ("file", "mention"),
    [
        ("wildcards/hair color.txt", "__hair color__"),
        ("wildcards/European Art/painters.txt", "__European Art/painters__"),
        ("wildcards/nested/test.txt", r"__nested\test__"),
        ("wildcards/颜色.txt", "__颜色__"),
        ("wildcards/people/a/b.txt", "__people/*__"),
    ],
)
def test_a_wildcard_may_have_any_name(desk: Desk, file: str, mention: str) -> None:
    if "*" in mention:
        file = "wildcards/people/b.txt"
    desk.put(file, "drawn\n")
    assert desk.shots(f"prompt: 'a {mention} mug'").prompts == ["a drawn mug"]


def test_underscores_left_over_are_told_with_their_place(desk: Desk) -> None:
    desk.put("wildcards/a1.txt", "x\n")
    desk.put("wildcards/camera.txt", "y\n")
    answer = desk.shots('prompt: "__a1___camera__"')
    told = answer.problems or answer.warnings
    # The prompt's text begins in column 12.
    assert any("__" in line and ":4:1" in line for line in told), told


def test_a_wildcard_line_may_have_a_weight(desk: Desk) -> None:
    desk.put("wildcards/w.txt", "20::hat\ncap\n")
    prompts = desk.shots("prompt: __w__", "seeds: 200").prompts
    assert set(prompts) == {"hat", "cap"}
    assert prompts.count("hat") > 150


def test_several_lines_of_one_wildcard_are_different(desk: Desk) -> None:
    desk.put("wildcards/tags.txt", "a\nb\nc\n")
    for prompt in desk.shots("prompt: '{2$$__tags__}'", "seeds: 50").prompts:
        one, other = prompt.split(", ")
        assert {one, other} < {"a", "b", "c"}
        assert one != other


def test_a_comment_behind_a_wildcard_line_is_none_of_its_text(desk: Desk) -> None:
    desk.put("wildcards/film.txt", "Tri-X 320   # Lower contrast\n")
    assert desk.shots("prompt: __film__").prompts == ["Tri-X 320"]


def test_a_comment_line_in_a_block_of_prompt_text_is_warned_of(desk: Desk) -> None:
    answer = desk.shots("prompt: |", "  a mug", "  # in red", "  on a table")
    answer.warned("#")
    assert not answer.prompts[0].endswith("\n")


def test_an_escaped_hash_is_a_value(desk: Desk) -> None:
    desk.put("wildcards/c.txt", "\\#ff5733\n# none\n")
    assert desk.shots("prompt: __c__").prompts == ["#ff5733"]


def test_an_empty_prompt_is_refused_unless_it_is_allowed(desk: Desk) -> None:
    desk.put("p.csv", "sku,prompt\na,a mug\nb,\n")
    assert "empty" in desk.shots("axes: {p: {file: p.csv}}").problem
    assert desk.shots("allow_empty: true", "axes: {p: {file: p.csv}}").prompts == ["a mug", ""]


@pytest.mark.parametrize("variants", ["random", "combinatorial"])
def test_a_value_is_drawn_once_a_shot(desk: Desk, variants: str) -> None:
    desk.put("wildcards/epoch.txt", "Gothic\n1920s\n")
    answer = desk.plan(
        'output: {name: "{epoch}-{seed}"}\nshots:\n'
        '- prompt: "{epoch} house, {epoch} garden"\n  negative: "no {epoch}"\n  guidance: 3\n'
        '  axes: {epoch: {values: ["__epoch__"], expand: true}}\n'
        f"  variants: {variants}\n  seeds: [0, 1, 2, 3]\n"
    )
    if variants == "combinatorial":
        assert len(answer.shots) == 8
    for planned in answer.shots:
        epoch = planned.name.partition("-")[0]
        assert epoch in ("Gothic", "1920s")
        assert planned.shot.prompt == f"{epoch} house, {epoch} garden"
        assert planned.shot.negative == f"no {epoch}"


# Remedies.


@pytest.mark.parametrize(("column", "cell"), [("lora", "blueprint:0.8"), ("loras", "blueprint:0.8")])
def test_a_colon_before_the_weight_is_told_to_be_an_at(desk: Desk, column: str, cell: str) -> None:
    desk.put("p.csv", f'name,{column}\na,"{cell}"\n')
    assert "blueprint@0.8" in desk.shots('prompt: "{p}"', "axes: {p: {file: p.csv}}").problem


@pytest.mark.parametrize("cell", ["blueprint@0.8, blueprint@0.5", "blueprint@0.8 + blueprint@0.5"])
def test_a_cell_holds_several_loras(desk: Desk, cell: str) -> None:
    desk.put("p.csv", f'name,loras\na,"{cell}"\n')
    (planned,) = desk.shots('prompt: "{p}"', "axes: {p: {file: p.csv}}").shots
    assert [(use.name, use.weight) for use in planned.shot.loras] == [("blueprint", 0.5)]


def test_lists_are_never_told_to_be_quoted(desk: Desk) -> None:
    answer = desk.shots('prompt: "{a}"', "axes: {a: [x, y], b: [p, q]}", "exclude: [{a: [x, y], b: p}]")
    assert "quotes" not in answer.problem
    assert "quotes" not in desk.shots("prompt: [a mug, a lamp]").problem


def test_a_pack_of_wildcards_names_its_neighbour(desk: Desk) -> None:
    desk.put("wildcards/jumbo/creatures/adnd.txt", "a __beasts__\n")
    desk.put("wildcards/jumbo/creatures/beasts.txt", "wyvern\n")
    assert desk.shots("prompt: __jumbo/creatures/adnd__").prompts == ["a wyvern"]


def test_a_yaml_pack_is_read_by_its_keys(desk: Desk) -> None:
    desk.put("wildcards/pack.yaml", "animals:\n  birds: [wren]\n")
    assert desk.shots("prompt: __pack/animals/birds__").prompts == ["wren"]


def test_an_invisible_blank_is_named_by_its_code_point(desk: Desk) -> None:
    answer = desk.plan("shots:\n- name: a\n \u00a0prompt: a mug\n")
    assert any("U+00A0" in problem for problem in answer.problems)


def test_a_linked_folder_of_wildcards_is_followed(
    desk: Desk, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "color.txt").write_text("red\n")
    (desk.folder / "wildcards").symlink_to(outside)
    answer = desk.shots("prompt: a __color__ mug")
    assert answer.problems == [] or all("--root" in problem for problem in answer.problems)
    if not answer.problems:
        assert answer.prompts == ["a red mug"]


def test_a_comment_inside_a_flow_list_is_named_at_its_place(desk: Desk) -> None:
    answer = desk.plan('shots:\n- {prompt: "{c}", axes: {c: [red, #ff0000, blue]}}\n')
    assert any('"#ff0000"' in problem and ":4:" in problem for problem in answer.problems)


def test_a_shop_export_is_read_and_nothing_said_of_unused_columns(desk: Desk) -> None:
    filler = [f"Option {n} (Value)" for n in range(40)]
    header = ["Handle", "Title", "Variant SKU", "Body (HTML)", "Google Shopping / MPN", *filler]
    rows = [[f"mug-{n}", f"Mug {n}", f"SKU-{n}", "<p>nice</p>", "", *[""] * len(filler)] for n in range(16)]
    desk.put("shop.csv", "\n".join(",".join(row) for row in [header, *rows]) + "\n")
    answer = desk.plan(
        """output: {name: '{p["Variant SKU"]}'}\nshots:\n"""
        "- prompt: '{p.Title}, product photo'\n  axes: {p: {file: shop.csv}}\n"
    )
    assert answer.prompts[3] == "Mug 3, product photo"
    assert answer.names[3] == "SKU-3"
    assert answer.warnings == []


def test_a_mistake_in_json_is_named_at_its_own_line(desk: Desk) -> None:
    desk.put("p.json", '[\n {"name": "a"},\n {"name": "b"},\n {"name": "c", "steps": "many"}\n]\n')
    assert "p.json:4" in desk.shots('prompt: "{p}"', "axes: {p: {file: p.json}}").problem


def test_a_list_inside_a_mapping_is_picked_by_its_key(desk: Desk) -> None:
    desk.put("p.json", '{"personas": [{"name": "ana"}]}')
    assert "key: personas" in desk.shots('prompt: "{p}"', "axes: {p: {file: p.json}}").problem
    assert desk.shots('prompt: "{p}"', "axes: {p: {file: p.json, key: personas}}").prompts == ["ana"]


def test_a_heading_that_sets_the_size_says_so_and_how_to_be_plain(desk: Desk) -> None:
    desk.put("p.csv", "sku,size,model\na,XL,X200\nb,M,X201\n")
    answer = desk.shots('prompt: "{p.sku} {p.size}"', "axes: {p: {file: p.csv}}")
    assert all("columns: {" in problem for problem in answer.problems)
    assert len(answer.problems) == 2
    columns = "axes: {p: {file: p.csv, columns: {size: null, model: null}}}"
    assert desk.shots('prompt: "{p.sku} {p.size}"', columns).prompts == ["a XL", "b M"]


def test_a_prompt_that_the_model_cannot_read_is_told_before_it_is_rendered(desk: Desk) -> None:
    answer = desk.shots(f"prompt: {' '.join(['mug'] * 1840)}")
    assert any("512" in line and "token" in line for line in answer.problems + answer.warnings)


def test_a_reference_that_nothing_gives_is_told_beside_every_other_problem(desk: Desk) -> None:
    answer = desk.shots('prompt: "a {thng}"', "stepps: 4", "axes: {thing: {file: gone.txt}}")
    assert len(answer.problems) == 3
    assert any("{thng}" in problem and "did you mean" in problem for problem in answer.problems)


# Said, though nothing is refused.


def test_a_prompt_that_every_row_replaces_is_told_with_what_keeps_it(desk: Desk) -> None:
    desk.put("p.csv", "name,prompt\na,a mug\n")
    lines = ('prompt: "photo of {p.prompt}"', "axes: {p: {file: p.csv}}")
    desk.shots(*lines).warned("no shot uses this prompt", "`columns: {prompt: null}`")
    kept = desk.shots(lines[0], "axes: {p: {file: p.csv, columns: {prompt: null}}}")
    assert kept.prompts == ["photo of a mug"]
    assert kept.warnings == []
    inline = desk.shots(lines[0], "axes: {p: [{name: a, prompt: a mug}]}")
    inline.warned("no shot uses this prompt", "rename `prompt` there")


def test_a_prompt_that_some_row_leaves_is_not_told(desk: Desk) -> None:
    desk.put("p.csv", "name,prompt\na,a mug\nb,\n")
    answer = desk.shots("prompt: a lamp", "axes: {p: {file: p.csv}}")
    assert answer.prompts == ["a mug", "a lamp"]
    assert answer.warnings == []


@pytest.mark.parametrize(
    ("entry", "words"),
    [("{A: x, steps: 4}", "did you mean `a`?"), ("{a: x, output: y}", "`output` is not an axis")],
)
def test_a_key_of_include_that_nothing_reads_is_told(desk: Desk, entry: str, words: str) -> None:
    desk.shots('prompt: "{a}"', "axes: {a: [x, y]}", f"include: [{entry}]").warned(words)


def test_a_key_of_include_that_the_prompt_reads_is_not_told(desk: Desk) -> None:
    answer = desk.shots('prompt: "{a} {m}"', "axes: {a: [x]}", "include: [{a: x, m: y}]")
    assert (answer.prompts, answer.warnings) == (["x y"], [])


def test_the_number_of_a_row_is_told_from_a_column_called_index(desk: Desk) -> None:
    desk.put("p.csv", "index,text\n7,a mug\n")
    axes = "axes: {p: {file: p.csv}}"
    desk.shots('prompt: "{p.index} {p.text}"', axes).warned('{p["index"]}')
    answer = desk.shots("prompt: '{p[\"index\"]} {p.text}'", axes)
    assert (answer.prompts, answer.warnings) == (["7 a mug"], [])


@pytest.mark.parametrize(
    ("lines", "look"),
    [
        ("- a mug\n- a lamp\n", "dash"),
        ("1. a mug\n2. a lamp\n", "number"),
        ('"a mug"\n"a lamp"\n', "quotes"),
        ("a mug,\na lamp,\n", "comma"),
    ],
)
@pytest.mark.parametrize("wildcard", [True, False])
def test_lines_that_look_like_another_kind_of_list_are_told(
    desk: Desk, lines: str, look: str, wildcard: bool
) -> None:
    desk.put("wildcards/p.txt" if wildcard else "p.txt", lines)
    answer = (
        desk.shots("prompt: __p__") if wildcard else desk.shots("prompt: '{p}'", "axes: {p: {file: p.txt}}")
    )
    answer.warned(look, "p.txt:1")


@pytest.mark.parametrize(
    "lines", ["- a mug\na lamp\n", "35 mm film\n2. a lamp\n", '"a" and "b"\n"c" or "d"\n']
)
def test_lines_of_which_only_some_look_so_are_not_told(desk: Desk, lines: str) -> None:
    desk.put("p.txt", lines)
    assert desk.shots("prompt: '{p}'", "axes: {p: {file: p.txt}}").warnings == []


def test_a_weight_in_front_of_a_value_is_told_to_be_text(desk: Desk) -> None:
    desk.put("p.txt", "20::hat\ncap\n")
    desk.shots("prompt: '{p}'", "axes: {p: {file: p.txt}}").warned("20::", "wildcards")


def test_an_error_of_a_spreadsheet_is_told_with_its_line(desk: Desk) -> None:
    desk.put("p.csv", "name,text\na,a mug\nb,#REF!\n")
    desk.shots('prompt: "{p.text}"', "axes: {p: {file: p.csv}}").warned("p.csv:3", "`#REF!`")


def test_a_column_of_aspects_is_told_to_set_nothing(desk: Desk) -> None:
    desk.put("p.csv", "text,aspect_ratio\na mug,16:9\n")
    desk.shots('prompt: "{p.text}"', "axes: {p: {file: p.csv}}").warned("aspect_ratio", "`size`")


# Refused, since they would be something else than what was meant.


def test_a_merge_key_in_values_is_refused(desk: Desk) -> None:
    desk.put("p.yaml", "- &a {text: x}\n- {<<: *a, name: b}\n")
    assert "merge keys" in desk.shots("prompt: '{p.text}'", "axes: {p: {file: p.yaml}}").problem
    answer = desk.shots("prompt: '{p.text}'", "axes: {p: [&a {text: x}, {<<: *a, name: b}]}")
    assert "merge keys" in answer.problem


def test_weights_behind_the_lines_of_a_pack_are_told_to_stand_in_front(desk: Desk) -> None:
    desk.put("wildcards/p.yaml", "w:\n  hat: 3\n  cap: 1\n")
    assert "write `[3::hat, 1::cap]`" in desk.shots("prompt: __w__").problem


def test_a_lora_that_is_none_is_told_with_its_own_column(desk: Desk) -> None:
    desk.put("p.csv", "text,Lora\na mug,None\n")
    problem = desk.shots("prompt: '{p.text}'", "axes: {p: {file: p.csv}}").problem
    assert "leave it out" in problem
    assert "the column `Lora`" in problem


def test_a_sheet_without_rows_names_another(desk: Desk) -> None:
    book = Workbook()
    book.active.append(["read me"])
    book.create_sheet("Data").append(["text"])
    with io.BytesIO() as file:
        book.save(file)
        desk.put("p.xlsx", file.getvalue())
    assert "write `sheet: Data`" in desk.shots("prompt: '{p.text}'", "axes: {p: {file: p.xlsx}}").problem


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('prompt: "a big" mug', "after the closing quotation mark"),
        ('prompt: "a mug', "never closed"),
        ("prompt: a mug\n seeds: 2", "indentation of this line matches no line above"),
        ("prompt: - mug", "put text that starts with `- ` in quotes"),
        (r'prompt: "C:\Users"', "use single quotes"),
    ],
)
def test_what_is_no_yaml_is_told_in_words_for_people(desk: Desk, line: str, words: str) -> None:
    assert words in desk.shots(line).problem

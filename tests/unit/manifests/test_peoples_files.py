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
from coordinator.cli.planning import read_manifest
from coordinator.submission.plan import make_plan

Files = dict[str, str | bytes]
Lines = tuple[str, ...]
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

    def told(self, *words: str) -> list[str]:
        """Each problem, else each warning, that holds all of these words."""
        return [each for each in self.problems or self.warnings if all(word in each for word in words)]


class Desk:
    """A folder with a manifest and the files beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, files: Files) -> None:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def plan(self, manifest: str, name: str = "m.yaml", head: str = HEAD) -> Answer:
        self.put({name: head + manifest})
        try:
            planned = make_plan(read_manifest(name, load_settings(None)))
        except InvalidDocument as error:
            return Answer(problems=str(error).splitlines())
        return Answer(list(planned.expansion), [], list(planned.report.warnings))

    def shots(self, *lines: str) -> Answer:
        """The plan of one group with these lines."""
        return self.plan("\n".join(["shots:", f"- {lines[0]}", *(f"  {x}" for x in lines[1:])]))


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


def row(file: str) -> str:
    return f"axes: {{p: {{file: {file}}}}}"


#: Files, the lines of a group, and the prompts of its shots.
READ: list[tuple[Files, Lines, list[str]]] = [
    *(
        ({f"wildcards/{file}": "drawn\n"}, (f"prompt: 'a {mention} mug'",), ["a drawn mug"])
        for file, mention in (
            ("hair color.txt", "__hair color__"),
            ("European Art/painters.txt", "__European Art/painters__"),
            ("nested/test.txt", r"__nested\test__"),
            ("颜色.txt", "__颜色__"),
            ("people/b.txt", "__people/*__"),
        )
    ),
    ({"wildcards/film.txt": "Tri-X 320   # Lower contrast\n"}, ("prompt: __film__",), ["Tri-X 320"]),
    ({"wildcards/c.txt": "\\#ff5733\n# none\n"}, ("prompt: __c__",), ["#ff5733"]),
    (
        {
            "wildcards/jumbo/creatures/adnd.txt": "a __beasts__\n",
            "wildcards/jumbo/creatures/beasts.txt": "wyvern\n",
        },
        ("prompt: __jumbo/creatures/adnd__",),
        ["a wyvern"],
    ),
    (
        {"wildcards/pack.yaml": "animals:\n  birds: [wren]\n"},
        ("prompt: __pack/animals/birds__",),
        ["wren"],
    ),
    ({"p.csv": "sku,prompt\na,a mug\nb,\n"}, ("allow_empty: true", row("p.csv")), ["a mug", ""]),
    (
        {"p.json": '{"personas": [{"name": "ana"}]}'},
        ("prompt: '{p}'", row("p.json, key: personas")),
        ["ana"],
    ),
    (
        {"p.csv": "sku,size,model\na,XL,X200\nb,M,X201\n"},
        ("prompt: '{p.sku} {p.size}'", row("p.csv, columns: {size: null, model: null}")),
        ["a XL", "b M"],
    ),
    (
        {"p.csv": "name,prompt\na,a mug\n"},
        ("prompt: 'photo of {p.prompt}'", row("p.csv, columns: {prompt: null}")),
        ["photo of a mug"],
    ),
    ({"p.csv": "name,prompt\na,a mug\nb,\n"}, ("prompt: a lamp", row("p.csv")), ["a mug", "a lamp"]),
    (
        {"p.csv": "index,text\n7,a mug\n"},
        ("prompt: '{p[\"index\"]} {p.text}'", row("p.csv")),
        ["7 a mug"],
    ),
    ({}, ("prompt: '{a} {m}'", "axes: {a: [x]}", "include: [{a: x, m: y}]"), ["x y"]),
    # Lines of which only some look like those of another kind of list.
    *(
        ({"p.txt": f"{one}\n{other}\n"}, ("prompt: '{p}'", row("p.txt")), [one, other])
        for one, other in (("- a mug", "a lamp"), ("35 mm film", "2. a lamp"), ('"a" and "b"', '"c" or "d"'))
    ),
]


@pytest.mark.parametrize(("files", "lines", "prompts"), READ)
def test_peoples_files_mean_what_they_say(desk: Desk, files: Files, lines: Lines, prompts: list[str]) -> None:
    desk.put(files)
    answer = desk.shots(*lines)
    assert (answer.prompts, answer.warnings) == (prompts, [])


@pytest.mark.parametrize(
    ("table", "lines", "made"),
    [
        (
            "filename,prompt,negative_prompt,width,height,steps,cfg_scale\n"
            "00001-0-3.png,a red mug,blurry,512,768,20,7\n",
            (row("p.csv"), 'output: {name: "{p.filename}"}'),
            {"prompt": "a red mug", "negative": "blurry", "width": 512, "height": 768, "steps": 20}
            | {"guidance": 7.0, "name": "00001-0-3"},
        ),
        # Headings in capitals.
        (
            "Name,Text,Size,Steps,Negative,Loras\nx,a mug,96x128,4,blurry,blueprint@1\n",
            ("prompt: '{p.Text}'", row("p.csv")),
            {"width": 96, "height": 128, "steps": 4, "negative": "blurry", "loras": [("blueprint", 1.0)]},
        ),
        # Several LoRAs in a cell.
        *(
            (
                f'name,loras\na,"blueprint@0.8{mark}blueprint@0.5"\n',
                ("prompt: '{p}'", row("p.csv")),
                {"loras": [("blueprint", 0.5)]},
            )
            for mark in (", ", " + ")
        ),
    ],
)
def test_a_column_sets_what_it_is_called_after(
    desk: Desk, table: str, lines: Lines, made: dict[str, object]
) -> None:
    desk.put({"p.csv": table})
    ((planned),) = desk.shots(*lines).shots
    shot = planned.shot._asdict() | {"name": planned.name}
    shot["loras"] = [(use.name, use.weight) for use in planned.shot.loras]
    assert {key: shot[key] for key in made} == made


def test_a_wildcard_line_may_have_a_weight(desk: Desk) -> None:
    desk.put({"wildcards/w.txt": "20::hat\ncap\n"})
    prompts = desk.shots("prompt: __w__", "seeds: 200").prompts
    assert set(prompts) == {"hat", "cap"}
    assert prompts.count("hat") > 150


def test_several_lines_of_one_wildcard_are_different(desk: Desk) -> None:
    desk.put({"wildcards/tags.txt": "a\nb\nc\n"})
    for prompt in desk.shots("prompt: '{2$$__tags__}'", "seeds: 50").prompts:
        one, other = prompt.split(", ")
        assert {one, other} < {"a", "b", "c"}
        assert one != other


@pytest.mark.parametrize("variants", ["random", "combinatorial"])
def test_a_value_is_drawn_once_a_shot(desk: Desk, variants: str) -> None:
    desk.put({"wildcards/epoch.txt": "Gothic\n1920s\n"})
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


def test_a_shop_export_is_read_and_nothing_said_of_unused_columns(desk: Desk) -> None:
    filler = [f"Option {n} (Value)" for n in range(40)]
    header = ["Handle", "Title", "Variant SKU", "Body (HTML)", "Google Shopping / MPN", *filler]
    rows = [[f"mug-{n}", f"Mug {n}", f"SKU-{n}", "<p>nice</p>", "", *[""] * len(filler)] for n in range(16)]
    desk.put({"shop.csv": "\n".join(",".join(row) for row in [header, *rows]) + "\n"})
    answer = desk.plan(
        """output: {name: '{p["Variant SKU"]}'}\nshots:\n"""
        "- prompt: '{p.Title}, product photo'\n  axes: {p: {file: shop.csv}}\n"
    )
    assert answer.prompts[3] == "Mug 3, product photo"
    assert answer.names[3] == "SKU-3"
    assert answer.warnings == []


# Refused, or done and told of.


def _workbook() -> bytes:
    """Whose first sheet has no rows."""
    book = Workbook()
    book.active.append(["read me"])
    book.create_sheet("Data").append(["text"])
    with io.BytesIO() as file:
        book.save(file)
        return file.getvalue()


TEXT = "prompt: '{p.text}'"
#: Files, the lines of a group, and what the one problem or warning of it names.
TOLD: list[tuple[Files, Lines, Lines]] = [
    # The prompt's text begins in column 12.
    (
        {"wildcards/a1.txt": "x\n", "wildcards/camera.txt": "y\n"},
        ('prompt: "__a1___camera__"',),
        ("__", ":4:1"),
    ),
    ({}, ("prompt: |", "  a mug", "  # in red", "  on a table"), ("#",)),
    ({"p.csv": "sku,prompt\na,a mug\nb,\n"}, (row("p.csv"),), ("empty",)),
    *(
        ({"p.csv": f"name,{column}\na,blueprint:0.8\n"}, ("prompt: '{p}'", row("p.csv")), ("blueprint@0.8",))
        for column in ("lora", "loras")
    ),
    ({}, ("name: a\n \u00a0prompt: a mug",), ("U+00A0",)),
    ({}, ("{prompt: '{c}', axes: {c: [red, #ff0000, blue]}}",), ('"#ff0000"', ":4:")),
    (
        {"p.json": '[\n {"name": "a"},\n {"name": "b"},\n {"name": "c", "steps": "many"}\n]\n'},
        ("prompt: '{p}'", row("p.json")),
        ("p.json:4",),
    ),
    ({"p.json": '{"personas": [{"name": "ana"}]}'}, ("prompt: '{p}'", row("p.json")), ("key: personas",)),
    *(
        ({"p.csv": "sku,size,model\na,XL,X200\nb,M,X201\n"}, ("prompt: '{p.sku}'", row("p.csv")), (said,))
        for said in ("columns: {size: null}", "columns: {model: null}")
    ),
    ({}, (f"prompt: {' '.join(['mug'] * 1840)}",), ("512", "token")),
    ({}, ('prompt: "a {thng}"', "stepps: 4", "axes: {thing: {file: gone.txt}}"), ("{thng}", "did you mean")),
    (
        {"p.csv": "name,prompt\na,a mug\n"},
        ("prompt: 'photo of {p.prompt}'", row("p.csv")),
        ("no shot uses this prompt", "`columns: {prompt: null}`"),
    ),
    (
        {},
        ("prompt: 'photo of {p.prompt}'", "axes: {p: [{name: a, prompt: a mug}]}"),
        ("no shot uses this prompt", "rename `prompt` there"),
    ),
    *(
        ({}, ("prompt: '{a}'", "axes: {a: [x, y]}", f"include: [{entry}]"), (said,))
        for entry, said in (
            ("{A: x, steps: 4}", "did you mean `a`?"),
            ("{a: x, output: y}", "`output` is not an axis"),
        )
    ),
    ({"p.csv": "index,text\n7,a mug\n"}, ("prompt: '{p.index} {p.text}'", row("p.csv")), ('{p["index"]}',)),
    # Lines that look like those of another kind of list.
    *(
        ({name: lines}, (prompt, row("p.txt")) if "{" in prompt else (prompt,), (look, "p.txt:1"))
        for lines, look in (
            ("- a mug\n- a lamp\n", "dash"),
            ("1. a mug\n2. a lamp\n", "number"),
            ('"a mug"\n"a lamp"\n', "quotes"),
            ("a mug,\na lamp,\n", "comma"),
        )
        for name, prompt in (("p.txt", "prompt: '{p}'"), ("wildcards/p.txt", "prompt: __p__"))
    ),
    ({"p.txt": "20::hat\ncap\n"}, ("prompt: '{p}'", row("p.txt")), ("20::", "wildcards")),
    # An error of a spreadsheet.
    ({"p.csv": "name,text\na,a mug\nb,#REF!\n"}, (TEXT, row("p.csv")), ("p.csv:3", "`#REF!`")),
    ({"p.csv": "text,aspect_ratio\na mug,16:9\n"}, (TEXT, row("p.csv")), ("aspect_ratio", "`size`")),
    ({"p.yaml": "- &a {text: x}\n- {<<: *a, name: b}\n"}, (TEXT, row("p.yaml")), ("merge keys",)),
    ({}, (TEXT, "axes: {p: [&a {text: x}, {<<: *a, name: b}]}"), ("merge keys",)),
    ({"wildcards/p.yaml": "w:\n  hat: 3\n  cap: 1\n"}, ("prompt: __w__",), ("write `[3::hat, 1::cap]`",)),
    ({"p.csv": "text,Lora\na mug,None\n"}, (TEXT, row("p.csv")), ("leave it out", "the column `Lora`")),
    ({"p.xlsx": _workbook()}, (TEXT, row("p.xlsx")), ("write `sheet: Data`",)),
    # No YAML.
    ({}, ('prompt: "a big" mug',), ("after the closing quotation mark",)),
    ({}, ('prompt: "a mug',), ("never closed",)),
    ({}, ("prompt: a mug\n seeds: 2",), ("indentation of this line matches no line above",)),
    ({}, ("prompt: - mug",), ("put text that starts with `- ` in quotes",)),
    ({}, (r'prompt: "C:\Users"',), ("use single quotes",)),
]


@pytest.mark.parametrize(("files", "lines", "words"), TOLD)
def test_what_was_hardly_meant_is_told_once(desk: Desk, files: Files, lines: Lines, words: Lines) -> None:
    desk.put(files)
    answer = desk.shots(*lines)
    assert len(answer.told(*words)) == 1, answer.problems or answer.warnings

"""No text of a person, a file or another machine is obeyed, changed or lost by any command, and none ends it.

Every command stands in `COMMANDS` or `NODE_COMMANDS`; one that is missing fails a test here.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from common.error_view import ErrorView
from common.messages import CardFacts, Join
from common.terminal import err, out
from common.views import JobView
from common.wording import visible, visible_lines
from coordinator.cli.all_commands import app
from coordinator.cli.show import print_json
from coordinator.cli.watch import screen
from coordinator.embedded.state import FarmState
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.assemble import NodeOptions, owned
from gpu_node.cli import app as node_app
from gpu_node.cli import main as node_main
from gpu_node.credentials import kept_identity
from gpu_node.doctor import Finding
from gpu_node.probe import Probe
from gpu_node.status import BatchStatus, Day, NodeStatus, status_file
from tests.answering_farm import JOB, KEY, NODE, SHOT, AnsweringFarm, answering_farm, filled
from tests.nasty_strings import NASTY, UNSAYABLE, WORST
from tests.unit.cli.conftest import PROGRAMS, Farm, Ran, drawn, runner
from tests.unit.weights.files import safetensors_bytes
from tests.unit.weights.test_recognition import LORAS

MANIFEST = "{version: 1, shots: [{name: a, model: shotfarm-demo, prompt: a red mug}]}"
#: So wide that nothing is wrapped.
_WIDE = 100_000
_CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def sayable(text: str) -> bool:
    """Whether a farm can send it."""
    return not re.search("[\0\ud800-\udfff]", text)


def marked(strings: Iterable[str]) -> str:
    """Each with its own mark, so that one which is lost is missed."""
    return "".join(f"‹{number}›{text}" for number, text in enumerate(strings))


#: All strings, in three texts.
_CHUNKS = [marked(NASTY[rest::3]) for rest in range(3)]
#: These, and one with those that are tried with everything.
_SAID = [*_CHUNKS, marked(text for text in WORST if sayable(text))]


class Case(NamedTuple):
    #: The command, its arguments, its options.
    words: tuple[str, ...]
    #: What it ends with when the farm answers.
    code: int = 0
    #: Whether it shows any text of what the farm answers, and calls the farm at all.
    shows: bool = True
    calls: bool = True
    #: Letters that it shows: of the name of a card, as many as one may have.
    letters: int | None = None


COMMANDS = {
    "run": Case(("run", "m.yaml", "--out", "pictures"), code=6),
    "plan": Case(("plan", "m.yaml", "--farm", "--cards"), letters=200),
    "simulate": Case(("simulate", "m.yaml"), code=3, letters=200),
    "render": Case(("render", "a mug", "--out", "mug.png"), shows=False, calls=False),
    "random": Case(("random", "--seed", "7", "--out", "pictures"), code=6),
    "import": Case(("import", "list.txt"), shows=False, calls=False),
    "new": Case(("new", "-", "--picture", "a mug", "--yes"), shows=False, calls=False),
    "models": Case(("models", "--settings", "models.yaml"), calls=False),
    "models add": Case(("models", "add", "x.safetensors", "--dry-run"), shows=False, calls=False),
    "models publish": Case(("models", "publish", "style"), code=1, shows=False, calls=False),
    "models rm": Case(("models", "rm", "style"), code=1, shows=False, calls=False),
    "models check": Case(
        ("models", "check", "style", "--settings", "models.yaml"), code=1, shows=False, calls=False
    ),
    "models show": Case(("models", "show", "style", "--settings", "models.yaml"), calls=False),
    "submit": Case(("submit", "m.yaml", "--yes")),
    "jobs": Case(("jobs",)),
    "watch": Case(("watch", JOB), code=6),
    "pick": Case(("pick", JOB)),
    "pull": Case(("pull", JOB, "pictures"), shows=False),
    "pause": Case(("pause", JOB)),
    "resume": Case(("resume", JOB)),
    "cancel": Case(("cancel", JOB)),
    "retry": Case(("retry", JOB)),
    "requeue": Case(("requeue", JOB)),
    "accept": Case(("accept", SHOT[:6]), shows=False),
    "reject": Case(("reject", SHOT[:6], "--redo")),
    "delete": Case(("delete", JOB, "--yes"), shows=False),
    "withheld": Case(("withheld",)),
    "approve": Case(("approve", SHOT[:6]), shows=False),
    "priority": Case(("priority", JOB, "50")),
    "explain": Case(("explain", JOB)),
    "verify": Case(("verify", "made.png")),
    "cost": Case(("cost", JOB)),
    "thanks": Case(("thanks",)),
    "whoami": Case(("whoami",)),
    "keys create": Case(("keys", "create", KEY, "--owner", "studio", "--lane", "studio")),
    "audit": Case(("audit",)),
    "keys limit": Case(("keys", "limit", KEY, "--quota", "2000/day")),
    "keys list": Case(("keys", "list")),
    "keys rotate": Case(("keys", "rotate", KEY, "--grace", "1d")),
    "keys revoke": Case(("keys", "revoke", KEY)),
    "webhooks add": Case(("webhooks", "add", "https://example.com/farm", "--owner", "studio")),
    "webhooks list": Case(("webhooks", "list")),
    "webhooks rm": Case(("webhooks", "rm", "w-1")),
    "webhooks test": Case(("webhooks", "test", "w-1"), code=1),
    "nodes": Case(("nodes",)),
    "schema": Case(("schema",), shows=False, calls=False),
    "up": Case(("up",), calls=False),
    "page": Case(("page",), shows=False),
    "status": Case(("status",)),
    "top": Case(("top",)),
    "down": Case(("down",), shows=False, calls=False),
    "backup": Case(("backup", "copy.sqlite"), code=2, shows=False, calls=False),
    "restore": Case(("restore", "copy.sqlite"), code=2, shows=False, calls=False),
    "node drain": Case(("node", "drain", NODE)),
    "node pause": Case(("node", "pause", NODE)),
    "node resume": Case(("node", "resume", NODE)),
    "node quarantine": Case(("node", "quarantine", NODE)),
    "node forgive": Case(("node", "forgive", NODE)),
    "node forget": Case(("node", "forget", NODE)),
    "node vouch": Case(("node", "vouch", NODE)),
    "node disavow": Case(("node", "disavow", NODE)),
    "node discard-pictures": Case(("node", "discard-pictures", NODE, "--yes"), shows=False),
    "node invite": Case(("node", "invite", "--name", NODE, "--owner", "ana", "--lane", "studio")),
    "node revoke": Case(("node", "revoke", NODE)),
    "node remove": Case(("node", "remove", NODE)),
}
NODE_COMMANDS = {
    "run": ("run", "--card", "card.yaml"),
    "pause": ("pause",),
    "resume": ("resume",),
    "rotate": ("rotate",),
    "leave": ("leave",),
    "doctor": ("doctor", "--card", "card.yaml"),
    "status": ("status",),
    "service install": ("service", "install"),
    "service remove": ("service", "remove"),
}
#: Which ask nobody.
_ALONE = {"status", "service install", "service remove"}


def every_command(program: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, command in program.commands.items():
        inner = getattr(command, "commands", {})
        found |= {f"{name} {verb}": one for verb, one in inner.items()}
        if not inner or command.invoke_without_command:
            found[name] = command
    return found


def options_of(command: Any) -> list[str]:
    return [option for param in command.params for option in param.opts]


_EVERY = every_command(PROGRAMS[app])
_EVERY_NODE = every_command(PROGRAMS[node_app])


def test_every_command_is_tried_with_nasty_strings() -> None:
    assert set(COMMANDS) == set(_EVERY), "give each new command a line in COMMANDS"
    assert set(NODE_COMMANDS) == set(_EVERY_NODE), "give each new command a line in NODE_COMMANDS"


@pytest.fixture(scope="module")
def answering() -> Iterator[AnsweringFarm]:
    with answering_farm() as farm:
        yield farm


@pytest.fixture
def answers(
    answering: AnsweringFarm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, farm: Farm
) -> AnsweringFarm:
    """A farm to connect to, its supervisor on this machine as far as the command line sees, a manifest."""
    answering.text, answering.refuses = "a text", False
    monkeypatch.setenv("FARM_PUBLIC_URL", answering.url)
    monkeypatch.setenv("FARM_KEYS__OPERATOR", "operator-key")
    monkeypatch.setattr(out, "_width", _WIDE)
    monkeypatch.setattr(err, "_width", _WIDE)

    def local(*_: object) -> FarmState:
        return FarmState.model_validate(filled(FarmState, answering.text, {}))

    def started(*_: object, on_change: Callable[[FarmState], None], **__: object) -> FarmState:
        on_change(local())
        return local()

    monkeypatch.setattr("coordinator.cli.run.supervisor_pid", lambda _: 1)
    monkeypatch.setattr("coordinator.cli.status.supervisor_pid", lambda _: 1)
    monkeypatch.setattr("coordinator.cli.status.read_state", local)
    monkeypatch.setattr("coordinator.cli.local.start_farm", started)
    monkeypatch.setattr("coordinator.cli.render.render_apart", drawn)
    (tmp_path / "m.yaml").write_text(MANIFEST)
    Image.new("RGB", (8, 8)).save(tmp_path / "made.png")
    (tmp_path / "list.txt").write_text("a mug --s 20")
    (tmp_path / "x.safetensors").write_bytes(safetensors_bytes(LORAS["sdxl kohya"][1]))
    (tmp_path / "models.yaml").write_text("catalogs: [catalog.yaml]")
    write_catalog(tmp_path, "a text")
    return answering


def write_catalog(folder: Path, text: str) -> None:
    # A key of YAML is short.
    licence = text[:100]
    lora = {"base": "shotfarm-demo", "path": "x.safetensors", "license": licence, "triggers": [text]}
    catalog = {"licenses": {licence: {"commercial": True}}, "loras": {"style": lora}}
    (folder / "catalog.yaml").write_text(in_yaml(catalog))


def in_yaml(data: object) -> str:
    """In which any character may be said."""
    text = json.dumps(data, ensure_ascii=False)
    return re.sub(r"[^\x20-\x7e\xa1-\ud7ff]", lambda char: f"\\U{ord(char[0]):08x}", text)


def check(ran: Ran, code: int, *shown: str) -> None:
    assert ran.code == code, ran
    printed = ran.out + ran.err
    assert not _CONTROLS.search(printed), printed
    for text in shown:
        assert visible(text) in printed or visible_lines(text) in printed


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_farm_says_is_shown_as_it_is(
    name: str, farm: Farm, answers: AnsweringFarm, tmp_path: Path
) -> None:
    case = COMMANDS[name]
    for text in _SAID:
        answers.text = text
        write_catalog(tmp_path, text)
        check(farm(*case.words), case.code, *([text[: case.letters]] if case.shows else []))


def test_what_cards_have_measured_is_shown_as_it_is(farm: Farm, answers: AnsweringFarm) -> None:
    for text in _SAID:
        answers.text = text
        check(farm("models", "--measured"), 0, text)


@pytest.mark.parametrize("name", [name for name, one in _EVERY.items() if "--json" in options_of(one)])
def test_json_holds_every_text_exactly(name: str, farm: Farm, answers: AnsweringFarm, tmp_path: Path) -> None:
    case = COMMANDS[name]
    for text in _CHUNKS:
        answers.text = text
        write_catalog(tmp_path, text)
        ran = farm(*case.words, "--json")
        assert ran.code == case.code
        if case.shows:
            assert text[: case.letters] in texts(json.loads(ran.out))


@pytest.mark.parametrize("name", [name for name, case in COMMANDS.items() if case.calls])
def test_why_a_farm_refuses_is_shown_as_it_is(name: str, farm: Farm, answers: AnsweringFarm) -> None:
    answers.refuses = True
    for text in _SAID:
        answers.text = text
        check(farm(*COMMANDS[name].words), 2, text)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_given_to_a_command_is_shown_as_it_is(name: str, farm: Farm, answers: AnsweringFarm) -> None:
    words = COMMANDS[name].words
    arguments = len(name.split())
    for param in _EVERY[name].params:
        for text in WORST:
            if param.param_type_name == "argument":
                given = (*words[:arguments], text, *words[arguments + 1 :])
            elif param.is_flag:
                continue
            else:
                given = (*words, param.opts[0], text)
            ran = farm(*given)
            told = ran.code in (1, 2) and sayable(text) and param.metavar != "N"
            check(ran, ran.code, *([text] if told else []))
        arguments += param.param_type_name == "argument"


@pytest.fixture
def node(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    answering: AnsweringFarm,
) -> Farm:
    """Runs the command line of a node, whose farm refuses all; what would render is left out."""
    answering.refuses = True
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(out, "_width", _WIDE)
    monkeypatch.setattr(err, "_width", _WIDE)
    monkeypatch.setattr("gpu_node.cli._log_to_terminal", lambda: None)
    monkeypatch.setattr("gpu_node.cli._on_signals", lambda _: None)
    monkeypatch.setattr("gpu_node.cli.assembled", joining)
    card = "{name: a card, vram_gib: 8, usable_gib: 8, ram_gib: 8, compute_capability: '6.1', watts: 100}"
    (tmp_path / "card.yaml").write_text(card)

    return runner("farm-node", node_main, monkeypatch, capsys)


def home_of_a_node() -> Path:
    """That of node `n-1`, which has joined."""
    home = Path(".farm/nodes/n-1")
    home.mkdir(parents=True, exist_ok=True)
    return home


@contextmanager
def joining(options: NodeOptions, probe: Probe) -> Iterator[None]:
    """A node that only joins."""
    join = Join(name=options.name, card=CardFacts(**asdict(probe.card())))
    with closing(Coordinator(options.farm, options.secret)) as coordinator:
        coordinator.join(join)
    yield


@pytest.mark.parametrize("name", sorted(NODE_COMMANDS.keys() - _ALONE))
def test_why_a_farm_refuses_a_node_is_shown_as_it_is(name: str, node: Farm, answering: AnsweringFarm) -> None:
    for text in _SAID:
        answering.text = text
        kept_identity(home_of_a_node(), "n-1", answering.url)
        ran = node(*NODE_COMMANDS[name], "--farm", answering.url, "--name", "n-1")
        check(ran, ran.code, text)
        # Whoever leaves or pauses asks nobody.
        assert ran.code in ((0,) if name in ("leave", "pause") else (1, 2))


@pytest.mark.parametrize("name", NODE_COMMANDS)
def test_nothing_that_is_given_to_a_node_is_obeyed(name: str, node: Farm, answering: AnsweringFarm) -> None:
    for param in _EVERY_NODE[name].params:
        for text in WORST:
            if not getattr(param, "is_flag", False):
                farm = () if name in _ALONE else ("--farm", answering.url)
                named = () if param.param_type_name == "argument" else (param.opts[0],)
                ran = node(*NODE_COMMANDS[name], *farm, *named, text)
                check(ran, ran.code)


def test_what_a_node_does_is_shown_as_it_is(node: Farm) -> None:
    home, today = home_of_a_node(), Day(day=date(2026, 1, 5))
    for text in _SAID:
        working = BatchStatus(model=text, owner=text, images=1, delivered=0, phase=text, seconds=1)
        paused = NodeStatus(node="n-1", farm=text, paused=text, today=today)
        for status in (paused, NodeStatus(node="n-1", farm=text, work=working, doing=text, today=today)):
            status_file(home).write_text(status.model_dump_json())
            with owned(home, "it runs already"):
                check(node("status", "--name", "n-1"), 0, text)
                assert text in texts(json.loads(node("status", "--name", "n-1", "--json").out))


@pytest.mark.parametrize("text", [*_CHUNKS, *WORST, *UNSAYABLE])
def test_what_the_doctor_finds_is_shown_as_it_is(
    text: str, node: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Finding("card", True, text), Finding(text, False, "no")]
    monkeypatch.setattr("gpu_node.cli.examine", lambda *_, **__: found)
    check(node("doctor", "--card", "card.yaml"), 1, text)
    assert text in texts(json.loads(node("doctor", "--card", "card.yaml", "--json").out))


@pytest.mark.parametrize("text", NASTY)
def test_a_prompt_is_planned_and_shown_as_it_is(text: str, farm: Farm, answers: AnsweringFarm) -> None:
    prompt = in_prompt(text)
    # A model whose tokenizer is not here: some of these are longer than any model reads.
    shot = {"name": "a", "model": "z-image-turbo", "prompt": prompt}
    Path("m.yaml").write_text(in_yaml({"version": 1, "shots": [shot]}))
    planned = farm("plan", "m.yaml", "--json")
    assert planned.code == 0, planned.err
    (sample,) = json.loads(planned.out)["samples"]
    check(farm("plan", "m.yaml"), 0, sample["prompt"])
    assert " ".join(sample["prompt"].split()) == " ".join(text.split())


@pytest.mark.parametrize("text", NASTY)
def test_what_a_manifest_holds_is_refused_in_words_that_show_it(
    text: str, farm: Farm, answers: AnsweringFarm
) -> None:
    """As the name of everything that has one, and as every kind of value."""
    given = {text: text, "name": text, "model": text, "prompt": [text], "size": text, "loras": [text]}
    axes = {text: [text], "other": {"file": text}}
    manifest = {"version": 1, text: text, "name": text, "shots": [given | {"axes": axes}]}
    Path("m.yaml").write_text(in_yaml(manifest))
    ran = farm("plan", "m.yaml")
    check(ran, 2)
    assert len(ran.err.splitlines()) > 5


@pytest.mark.parametrize("text", [*(text for text in NASTY if "/" not in text), "two\nlines", "bytes \udcff"])
def test_a_file_may_be_called_anything(text: str, farm: Farm, answers: AnsweringFarm) -> None:
    text = text[:60]
    name = f"{text}.yaml"
    Path(name).write_text(MANIFEST)
    planned = farm("plan", "--json", "--", name)
    assert json.loads(planned.out)["manifest"] == name
    check(farm("submit", "--yes", "--", name), 0, text)
    Path(name).write_text("version: 1\nshots: 3")
    check(farm("plan", "--", name), 2, name)


@pytest.mark.parametrize("text", [*NASTY, *UNSAYABLE])
def test_the_screen_of_a_watcher_shows_every_text_as_it_is(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(err, "_width", _WIDE)
    job = JobView.model_construct(**filled(JobView, text, {"reason": "", "counts": {"waiting": 1}}))
    err.print(screen(job, ""), screen(job, text))
    said = capsys.readouterr().err
    assert not _CONTROLS.search(said)
    # The name, the name again, the node that renders it, and what it waits for.
    assert said.count(visible(text)) + said.count(visible_lines(text)) >= 4


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_exact_in_every_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding, errors="backslashreplace")
    monkeypatch.setattr("sys.stdout", stream)
    said = [ErrorView.model_construct(detail=text) for text in (*NASTY, *UNSAYABLE)]
    print_json(said)
    stream.flush()
    printed = json.loads(stream.buffer.getvalue().decode(encoding))
    assert [each["detail"] for each in printed] == [each.detail for each in said]


def texts(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        yield from data
        data = list(data.values())
    if isinstance(data, list):
        for each in data:
            yield from texts(each)
    elif isinstance(data, str):
        yield data


def in_prompt(text: str) -> str:
    """As a manifest says a text that is not to be read as its own language."""
    return re.sub(r"[{}]", lambda char: f"\\{char[0]}", text)

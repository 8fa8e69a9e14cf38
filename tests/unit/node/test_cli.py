"""What `farm-node run` refuses before it joins anything."""

from __future__ import annotations

import fcntl
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from typer.testing import CliRunner

from common.errors import Conflict, FarmError, Unavailable
from gpu_node.assemble import NodeOptions
from gpu_node.cli import _worked, app
from gpu_node.probe import find_probe

CARD = Path(__file__).parents[3] / "manifests" / "cards" / "gtx-1070.yaml"


RUN = "run --farm http://127.0.0.1:9"
#: Words, and what is said; `{}` is a folder with these files.
FILES = {"empty.yaml": b"", "open.yaml": b"name: [", "utf16.yaml": b"\xff\xfe", "list.yaml": b"- x"}
FILES |= {"nane.yaml": b"nane: x", "key": b"node-key"}
REFUSED = [
    (f"{RUN} --card {CARD} --farm farm.example:8080", "http://"),
    *((f"{command} --card {CARD} --key no-such-key", "no-such-key") for command in (RUN, "doctor")),
    # A key that everybody may read.
    (f"{RUN} --card {CARD} --key {{}}/key", "chmod 600 {}/key"),
    *((f"{RUN} --card {{}}/{name}", f"{{}}/{name}:1:") for name in FILES if name.endswith(".yaml")),
    *(
        (f"{RUN} {option}", f"'{option.split()[0]}': use at most 63 letters")
        for option in ("--name 'my node!'", "--name ''", "--lane 'a lane'")
    ),
    *(
        (f"{command} --card {CARD} --models nowhere", "'nowhere' does not exist")
        for command in (RUN, "doctor")
    ),
]


def refusal(line: str, tmp_path: Path) -> tuple[int, str]:
    """Exit code and sentence."""
    result = CliRunner().invoke(app, [*shlex.split(line), "--home", str(tmp_path / "home")])
    if isinstance(result.exception, FarmError):
        return result.exception.exit_code, str(result.exception)
    return result.exit_code, result.output


@pytest.mark.parametrize(("line", "said"), REFUSED)
def test_a_wrong_option_is_said_before_anything_is_joined(line: str, said: str, tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o644)

    code, sentence = refusal(line.replace("{}", str(tmp_path)), tmp_path)

    assert code == 2
    assert said.replace("{}", str(tmp_path)) in sentence


def test_a_card_whose_first_run_failed_is_tried_again_at_its_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, wrong = [], [True, True, False]

    class Node:
        def run(self) -> None:
            tried.append("joined")

    class FirstRun:
        def run(self) -> None:
            tried.append("tried")
            if wrong.pop(0):
                raise Unavailable("this card renders 1 of 2 known images wrongly")

    @contextmanager
    def assembled(*_: object) -> Iterator[Node]:
        yield Node()

    monkeypatch.setattr("gpu_node.cli.assembled", assembled)
    monkeypatch.setattr("gpu_node.cli.first_run", lambda *_: FirstRun())
    for name in ("_log_to_terminal", "_on_signals", "_stop_on_signals"):
        monkeypatch.setattr(f"gpu_node.cli.{name}", lambda *_: None)
    options = cast("NodeOptions", SimpleNamespace(home=tmp_path, measure_s=30.0))
    probe = find_probe(CARD)
    for is_first in (True, False):
        with pytest.raises(Unavailable):
            _worked(options, probe, is_first=is_first, asked=False)
    assert tried == ["tried", "tried"]

    for _ in range(2):
        assert _worked(options, probe, is_first=False, asked=False)
    assert tried[2:] == ["tried", "joined", "joined"]


def test_a_home_that_another_node_uses_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with (tmp_path / "home" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, sentence = refusal(f"{RUN} --card {CARD}", tmp_path)

    assert (code, "--home" in sentence) == (Conflict.exit_code, True)

"""The command line as a person meets it, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from PIL import Image

from common.rendering import Rendered, RenderOrder
from coordinator.cli.all_commands import app
from coordinator.cli.main import main
from coordinator.cli.renderer import OnProgress
from gpu_node.cli import app as node_app


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Farm = Callable[..., Ran]

#: The commands of each program.
PROGRAMS: dict[Any, Any] = {app: typer.main.get_command(app), node_app: typer.main.get_command(node_app)}


@pytest.fixture(autouse=True)
def _made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making a program's commands takes longer than most commands."""
    monkeypatch.setattr("coordinator.cli.main.farm_app", lambda only: app)
    monkeypatch.setattr("typer.main.get_command", PROGRAMS.__getitem__)


@pytest.fixture
def farm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Farm:
    """Runs the command line in a folder without settings."""
    monkeypatch.chdir(tmp_path)
    return runner("farm", main, monkeypatch, capsys)


def runner(
    program: str,
    main: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Farm:
    def run(*args: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", [program, *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Ran(int(ended.value.code or 0), said.out, said.err)

    return run


def drawn(order: RenderOrder, _on_progress: OnProgress) -> Rendered:
    """Takes the place of what renders for `farm render`."""
    Image.new("RGB", (order.shot["width"], order.shot["height"]), "red").save(order.file, "PNG")
    return Rendered(card="CPU", recipe="fp32", load_s=1, render_s=2)

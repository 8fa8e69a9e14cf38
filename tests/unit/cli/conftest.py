"""The command line as a person meets it, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from coordinator.cli.main import main


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Farm = Callable[..., Ran]


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

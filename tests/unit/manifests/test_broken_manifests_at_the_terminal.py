"""`farm plan` on a broken manifest: exit code 2, file and line, no traceback."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from coordinator.cli.main import main

BROKEN = Path(__file__).parents[1] / "manifest" / "broken"


def plan(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(sys, "argv", ["farm", "plan", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


@pytest.mark.parametrize("name", sorted(path.name for path in BROKEN.glob("*.yaml")))
def test_farm_plan_names_file_and_line_and_exits_with_2(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(BROKEN)
    assert plan([name], monkeypatch) == 2
    told = capsys.readouterr()
    assert re.match(rf"{re.escape(name)}:\d+:\d+: ", told.err)
    assert "Traceback" not in told.err + told.out

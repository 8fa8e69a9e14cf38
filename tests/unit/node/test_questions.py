"""The five questions to the owner of a card."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from gpu_node.cli import app
from gpu_node.owner_settings import LENT, owner_file, read_owner_settings
from gpu_node.questions import ask_owner

CARD = Path(__file__).parents[3] / "manifests" / "cards" / "gtx-1070.yaml"


def test_enter_lends_a_card_with_care() -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return ""

    assert ask_owner(ask, pytest.fail) == LENT
    assert len(asked) == 5
    # Nobody is asked about these: whoever plays on the card, or unplugs the machine, wants it back.
    assert (LENT.card_use_percent, LENT.pause_on_battery) == (10.0, True)


def test_an_answer_that_is_none_is_asked_again() -> None:
    hours = "22:00-08:00; sat,sun 9:00-24:00"
    answers = iter(["evenings", hours, "a few", "0", "220", "", "30", "maybe", "Y"])
    said: list[str] = []
    settings = ask_owner(lambda _: next(answers), said.append)

    assert settings.when == ("22:00-08:00", "sat,sun 9:00-24:00")
    assert (settings.power_watts, settings.disk_gib, settings.sfw_only) == (220.0, 30.0, True)
    assert settings.temperature_c == LENT.temperature_c
    reasons = ["`22:00-08:00`", "no number", "greater than 0", "neither yes nor no"]
    assert [reason in why for reason, why in zip(reasons, said, strict=True)] == [True] * 4


@pytest.mark.parametrize("there", [None, "temperature_c: 70\n"])
def test_settings_are_written_once_and_never_over_others(there: str | None, tmp_path: Path) -> None:
    if there is not None:
        owner_file(tmp_path).write_text(there)
    # It is refused after that: the address is no URL.
    command = ["run", "--farm", "nowhere", "--card", str(CARD), "--home", str(tmp_path)]
    CliRunner().invoke(app, command)
    assert owner_file(tmp_path).exists() == (there is not None)
    CliRunner().invoke(app, [*command, "--yes"])
    assert read_owner_settings(tmp_path).temperature_c == (70.0 if there is not None else LENT.temperature_c)

"""When a node pauses by the settings of its owner, and when it goes on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from common.nodes import RESUMES_BY_ITSELF
from gpu_node.owner_settings import OwnerSettings
from gpu_node.policy import PausePolicy, Readings, program_name

CALM = Readings(card_use_percent=3.0, temperature_c=60.0)


class Machine:
    """A policy on a clock that a test moves; it is a Monday, 12:00, at first."""

    def __init__(self, **settings: Any) -> None:
        self.passed_s = 0.0
        self.policy = PausePolicy(OwnerSettings(**settings), lambda: self.passed_s, self.now)

    def now(self) -> datetime:
        return datetime(2026, 1, 5, 12) + timedelta(seconds=self.passed_s)

    def look(self, readings: Readings = CALM, *, after_min: float = 0.0) -> str:
        """Why it pauses, for its owner."""
        self.passed_s += 60 * after_min
        reason = self.policy.look(readings)
        return reason.shown if reason is not None else ""

    def told(self, readings: Readings) -> str:
        """Why it pauses, for the farm."""
        reason = self.policy.look(readings)
        assert reason is not None
        return reason.told


#: A setting, what the machine is like then, what its owner and the farm are told.
NEEDS: list[tuple[dict[str, Any], Readings, str, str]] = [
    (
        {"programs": ["Cyberpunk2077.exe"]},
        CALM._replace(programs=frozenset({"bash", "cyberpunk2077"})),
        "Cyberpunk2077.exe runs",
        "a program of its owner runs",
    ),
    (
        {"card_use_percent": 10},
        CALM._replace(card_use_percent=10.0),
        "other programs use 10 % of the card",
        "another program uses the card",
    ),
    (
        {"pause_on_battery": True},
        CALM._replace(on_battery=True),
        "this machine runs on its battery",
        "it runs on battery",
    ),
    (
        {"temperature_c": 80},
        CALM._replace(temperature_c=81.0),
        "the card has 81 °C, and 80 °C is the limit",
        "the card is too hot",
    ),
]


@pytest.mark.parametrize(("settings", "readings", "shown", "told"), NEEDS)
def test_the_owner_has_the_card_at_once_and_the_farm_after_five_quiet_minutes(
    settings: dict[str, Any], readings: Readings, shown: str, told: str
) -> None:
    machine = Machine(**settings)
    assert machine.look() == ""
    assert machine.look(readings) == shown
    # It stays so however long it lasts.
    assert machine.look(readings, after_min=60) == shown
    assert machine.look(after_min=4) == f"resumes in 1 min 00 s; the reason was: {shown}"
    # Another match begins, and the minutes count anew.
    assert machine.look(readings) == shown
    assert machine.look(after_min=4.9) != ""
    assert machine.look(after_min=0.2) == ""

    assert machine.told(readings) == f"{told}; {RESUMES_BY_ITSELF}"
    # What the owner runs is none of the farm's business, and it is not told of every second.
    assert machine.told(CALM) == machine.told(readings)
    assert Machine().look(readings) == ""


def test_what_cannot_be_read_pauses_nothing() -> None:
    machine = Machine(card_use_percent=10, temperature_c=80)
    assert machine.look(Readings()) == ""


def test_a_card_that_was_too_hot_has_to_cool_down_first() -> None:
    machine = Machine(temperature_c=80, resume_after_min=0)
    assert machine.look(CALM._replace(temperature_c=80.0)) == ""
    assert machine.look(CALM._replace(temperature_c=80.5)) != ""
    assert machine.look(CALM._replace(temperature_c=76.0)) != ""
    assert machine.look(CALM._replace(temperature_c=75.0)) == ""


def test_outside_its_hours_a_node_pauses_and_begins_with_them() -> None:
    machine = Machine(when=["22:00-08:00", "sat 10:00-20:00"])
    said = "outside the hours of its owner until 22:00"
    assert machine.look() == said
    assert machine.told(CALM) == f"{said}; {RESUMES_BY_ITSELF}"
    assert machine.look(after_min=9 * 60 + 59) == said
    assert machine.look(after_min=1) == ""
    assert machine.look(after_min=10 * 60) == said

    weekly = Machine(when=["sat 10:00-20:00"])
    assert weekly.look() == "outside the hours of its owner until sat 10:00"


def test_a_card_is_lent_while_its_hours_and_those_of_the_tariff_last() -> None:
    machine = Machine(when=["mon-fri 11:00-08:00"], tariff_hours=["23:30-06:00"])
    assert machine.look() == "outside the tariff hours of its owner until 23:30"
    assert machine.look(after_min=11 * 60 + 30) == ""
    assert machine.look(after_min=6 * 60 + 30) == "outside the tariff hours of its owner until 23:30"
    assert machine.look(after_min=3 * 60) == "outside the hours of its owner until 23:30"

    never = Machine(when=["10:00-14:00"], tariff_hours=["20:00-21:00"])
    assert never.told(CALM) == never.look() == "the hours of its owner are never hours of the tariff"


def test_a_pause_by_hand_ends_by_hand_alone() -> None:
    machine = Machine(programs=["doom"])
    by_hand = CALM._replace(by_hand=True)
    assert machine.look(by_hand, after_min=600) == "paused by `farm-node pause`; `farm-node resume` ends it"
    assert machine.told(by_hand) == ""
    assert machine.look() == ""


@pytest.mark.parametrize("text", ["doom", "Doom.exe", "/usr/games/doom", r"Z:\Games\DOOM\Doom.EXE", " doom "])
def test_a_program_has_one_name_however_it_is_written(text: str) -> None:
    assert program_name(text) == "doom"

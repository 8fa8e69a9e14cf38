"""The file in which an owner says what is allowed, and how a running node follows it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from common.errors import InvalidDocument
from gpu_node.card_use import OtherUse
from gpu_node.energy import DeclaredMeter
from gpu_node.owner_rules import OwnerRules
from gpu_node.owner_settings import (
    LENT,
    OwnerSettings,
    owner_file,
    read_owner_settings,
    write_owner_settings,
)
from gpu_node.readings import hand_file, is_on_battery, running_programs


def test_what_is_written_is_read_and_explains_itself(tmp_path: Path) -> None:
    settings = LENT.model_copy(update={"when": ("22:00-08:00",), "programs": ("blender",), "megabit_s": 20.0})
    file = write_owner_settings(tmp_path / "home", settings)

    assert read_owner_settings(tmp_path / "home") == settings
    assert file.stat().st_mode & 0o777 == 0o600
    lines = file.read_text().splitlines()
    keys = [place for place, line in enumerate(lines) if not line.startswith("#")]
    assert len(keys) == len(OwnerSettings.model_fields)
    assert all(lines[place - 1].startswith("# ") for place in keys)


@pytest.mark.parametrize("content", [None, b"", b"# nothing yet\n"])
def test_an_owner_who_says_nothing_limits_nothing(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        owner_file(tmp_path).write_bytes(content)
    assert read_owner_settings(tmp_path) == OwnerSettings()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("when: [22:00]", "write `22:00-08:00`"),
        ("programs: doom", "must be a list"),
        ("temperature_c: 8", "greater than or equal to 40"),
        ("temperatur_c: 80", "did you mean `temperature_c`"),
    ],
)
def test_a_mistake_is_told_with_its_line(line: str, said: str, tmp_path: Path) -> None:
    owner_file(tmp_path).write_text(f"resume_after_min: 5\n{line}\n")
    with pytest.raises(InvalidDocument) as raised:
        read_owner_settings(tmp_path)
    assert f"{owner_file(tmp_path)}:2:" in str(raised.value)
    assert said in str(raised.value)


def test_a_running_node_follows_the_file_and_keeps_to_it_while_it_is_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = OwnerRules(
        tmp_path, DeclaredMeter(None), lambda: 50.0, lambda: 0.0, lambda: datetime(2026, 1, 5, 12)
    )

    def write(text: str, moment: int) -> None:
        owner_file(tmp_path).write_text(text)
        os.utime(owner_file(tmp_path), (moment, moment))

    assert rules.look() is None
    write("card_use_percent: 40", 1)
    assert "50 %" in str(rules.look())
    write("card_use_percent: -1", 2)
    with caplog.at_level(logging.ERROR):
        assert "50 %" in str(rules.look())
        assert "50 %" in str(rules.look())
    assert [str(owner_file(tmp_path)) in message for message in caplog.messages] == [True]
    write("card_use_percent: 60", 3)
    assert rules.look() is None
    hand_file(tmp_path).touch()
    assert "farm-node pause" in str(rules.look())


def folders(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_programs_are_known_by_their_command_and_by_what_they_call_themselves(tmp_path: Path) -> None:
    processes = folders(
        tmp_path,
        {
            "7/comm": b"kworker/0:1\n",
            "7/cmdline": b"",
            "41/comm": b"Cyberpunk2077.e\n",
            "41/cmdline": b"Z:\\Games\\Cyberpunk2077.exe\0-dx12\0",
            "42/comm": b"steam\xff\n",
            "self/cmdline": b"not a process\0",
        },
    )
    # One that ends while it is looked at.
    (tmp_path / "43").mkdir()

    assert running_programs(processes) >= {"cyberpunk2077", "0:1"}
    assert "not a process" not in running_programs(processes)
    # Of this machine: the very program that asks.
    assert any(name.startswith("python") for name in running_programs())


@pytest.mark.parametrize(
    ("files", "discharging"),
    [
        ({"BAT0/type": b"Battery\n", "BAT0/status": b"Discharging\n"}, True),
        ({"BAT0/type": b"Battery\n", "BAT0/status": b"Charging\n", "AC/type": b"Mains\n"}, False),
        (
            {"mouse/type": b"Battery\n", "mouse/status": b"Discharging\n", "mouse/scope": b"Device\n"},
            False,
        ),
        ({}, False),
    ],
)
def test_a_machine_is_on_battery_while_its_own_battery_is_discharged(
    files: dict[str, bytes], discharging: bool, tmp_path: Path
) -> None:
    assert is_on_battery(folders(tmp_path, files)) is discharging


class Sample(BaseModel):
    pid: int
    timeStamp: int  # noqa: N815 - as NVML calls it
    smUtil: int  # noqa: N815


class Nvml:
    """A driver, in the two answers that count here; None: it does not tell."""

    class NVMLError(Exception):
        pass

    class NVMLError_NotFound(NVMLError):  # noqa: N801 - as NVML calls it
        pass

    def __init__(self, samples: list[Sample] | None, computing: tuple[int, ...] = ()) -> None:
        self.samples, self.computing = samples, computing

    def nvmlDeviceGetProcessUtilization(self, handle: str, since: int) -> list[Sample]:  # noqa: N802
        if self.samples is None:
            raise self.NVMLError
        if not self.samples:
            raise self.NVMLError_NotFound
        return self.samples

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:  # noqa: N802
        return [Sample(pid=pid, timeStamp=0, smUtil=0) for pid in self.computing]


LATER = 2**60


@pytest.mark.parametrize(
    ("driver", "percent"),
    [
        (Nvml([Sample(pid=1, timeStamp=LATER, smUtil=97)]), 0.0),
        (
            Nvml(
                [Sample(pid=pid, timeStamp=LATER + pid, smUtil=use) for pid, use in ((2, 5), (2, 20), (3, 4))]
            ),
            24.0,
        ),
        # What it says of the time before the last look, and of none.
        (Nvml([Sample(pid=2, timeStamp=moment, smUtil=90) for moment in (0, 1)]), 0.0),
        (Nvml([Sample(pid=pid, timeStamp=LATER, smUtil=80) for pid in (2, 3)]), 100.0),
        (Nvml([]), 0.0),
        (Nvml(None, (1,)), 0.0),
        (Nvml(None, (1, 2)), 100.0),
    ],
)
def test_the_use_of_a_card_by_others_is_told_without_the_engine(driver: Nvml, percent: float) -> None:
    assert OtherUse(driver, "card").percent(own=1) == percent

"""What a machine is like, by which its owner's settings decide: programs, use of the card, battery, heat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from gpu_node.energy import Meter
from gpu_node.owner_settings import OwnerSettings
from gpu_node.policy import Readings, program_name

_PROCESSES = Path("/proc")
_POWER_SUPPLIES = Path("/sys/class/power_supply")


def hand_file(home: Path) -> Path:
    """Is there while the owner has paused the node by hand."""
    return home / "paused"


def take_readings(
    home: Path, settings: OwnerSettings, meter: Meter, others: Callable[[], float | None]
) -> Readings:
    """What the settings ask for; `others` tells the percent of the card that other programs use."""
    return Readings(
        by_hand=hand_file(home).exists(),
        programs=running_programs() if settings.programs else frozenset(),
        card_use_percent=others() if settings.card_use_percent is not None else None,
        on_battery=settings.pause_on_battery and is_on_battery(),
        temperature_c=meter.temperature_c() if settings.temperature_c is not None else None,
    )


def running_programs(processes: Path = _PROCESSES) -> frozenset[str]:
    """Names of the programs of all processes, also of Windows programs that Wine runs."""
    return frozenset(_programs(processes))


def _programs(processes: Path) -> Iterator[str]:
    for process in processes.glob("[0-9]*"):
        with suppress(OSError):  # it ended
            command = (process / "cmdline").read_bytes().partition(b"\0")[0].decode(errors="replace")
            # What a program calls itself, up to 15 characters; threads of the kernel have nothing else.
            yield program_name((process / "comm").read_text(errors="replace"))
            if command:
                yield program_name(command)


def is_on_battery(supplies: Path = _POWER_SUPPLIES) -> bool:
    """Whether a battery of this machine is being discharged; not one of its mouse."""
    return any(_is_discharging(supply) for supply in supplies.glob("*"))


def _is_discharging(supply: Path) -> bool:
    def told(name: str) -> str:
        with suppress(OSError):
            return (supply / name).read_text().strip()
        return ""

    return (told("type"), told("status")) == ("Battery", "Discharging") and told("scope") != "Device"

"""What a node does and did today, in the file `status.json` of its home, for its owner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from common.keys import write_private
from common.units import counted, format_energy, format_seconds


class Day(BaseModel):
    """What was done for the farm on a day of local time."""

    model_config = ConfigDict(frozen=True)

    day: date
    images: int = 0
    #: In which the card worked, and what it drew then.
    seconds: float = 0.0
    joules: float = 0.0

    def plus(self, today: date, images: int, seconds: float, joules: float) -> Day:
        before = self if self.day == today else Day(day=today)
        return Day(
            day=today,
            images=before.images + images,
            seconds=before.seconds + seconds,
            joules=before.joules + joules,
        )


class BatchStatus(BaseModel):
    """A batch that a node works on."""

    model_config = ConfigDict(frozen=True)

    model: str
    #: Whose job it is; empty where the farm does not tell.
    owner: str
    images: int
    delivered: int
    #: Such as `denoise`; empty while it waits for something.
    phase: str
    #: Seconds that the card worked on it.
    seconds: float


class NodeStatus(BaseModel):
    """Of a moment."""

    model_config = ConfigDict(frozen=True)

    node: str
    farm: str
    #: Why it is paused, for its owner; empty while it may work.
    paused: str = ""
    #: What the farm was told of the pause; None while it counts on the node.
    told: str | None = None
    work: BatchStatus | None = None
    #: What it does without a batch.
    doing: str = ""
    #: Watts and °C of the card now, where they are known.
    watts: float | None = None
    temperature_c: float | None = None
    today: Day


def status_file(home: Path) -> Path:
    return home / "status.json"


def read_status(home: Path) -> NodeStatus | None:
    """The last that a node wrote; None where there is none that can be read."""
    with suppress(OSError, ValidationError, UnicodeDecodeError):
        return NodeStatus.model_validate_json(status_file(home).read_bytes())
    return None


def status_lines(status: NodeStatus, *, runs: bool) -> Iterator[str]:
    """What a node does and did, for people; `runs`: whether its process does."""
    yield f"node {status.node} of {status.farm}"
    if not runs:
        yield "not running: start it with `farm-node run`"
    elif status.paused:
        yield f"paused: {status.paused}"
    elif status.work is not None:
        work = status.work
        whom = f" for {work.owner}" if work.owner else ""
        did = f"{work.delivered} of {counted(work.images, 'image')} delivered"
        took = f"{format_seconds(work.seconds)} of work"
        yield f"working{whom}: {work.model}, {status.doing or work.phase or 'between passes'}, {did}, {took}"
    else:
        yield f"waiting for work{f', {status.doing}' if status.doing else ''}"
    if runs and (now := _now(status)):
        yield f"the card: {now}"
    today = status.today
    took = f"{format_seconds(today.seconds)} of work, {format_energy(today.joules)}"
    yield f"on {today.day}: {counted(today.images, 'image')}, {took}"


def _now(status: NodeStatus) -> str:
    watts = "" if status.watts is None else f"{status.watts:.0f} W"
    heat = "" if status.temperature_c is None else f"{status.temperature_c:.0f} °C"
    return ", ".join(filter(None, (watts, heat)))


class StatusFile:
    """Written when what it says has changed; a disk that is full costs the status only."""

    def __init__(self, home: Path, today: Callable[[], date] = date.today) -> None:
        self._home = home
        self._today = today
        last = read_status(home)
        #: What the farm was told by a process before this one.
        self.told = last.told if last is not None else None
        self._day = last.today if last is not None else Day(day=today())
        self._written = last

    def add(self, images: int, seconds: float, joules: float) -> None:
        """Count a batch that is over."""
        self._day = self._day.plus(self._today(), images, seconds, joules)

    def today(self, images: int = 0, seconds: float = 0.0, joules: float = 0.0) -> Day:
        """With that of the running batch."""
        return self._day.plus(self._today(), images, seconds, joules)

    def write(self, status: NodeStatus) -> None:
        if status == self._written:
            return
        with suppress(OSError):
            write_private(status_file(self._home), status.model_dump_json() + "\n")
            self._written = status

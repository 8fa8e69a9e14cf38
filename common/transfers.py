"""How far a transfer is: a bar on a terminal, and a line for each tenth elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from common.terminal import err
from common.units import format_gib
from common.wording import visible


@contextmanager
def transfer_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with speed and remaining time on a terminal; it hears of the bytes that are done, and of all."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(visible(name), total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield show


@dataclass(slots=True)
class TransferLines:
    """Says each tenth of `total` bytes once."""

    name: str
    total: int
    say: Callable[[str], None]
    _tenths: int = field(init=False, default=-1)

    def show(self, done: int) -> None:
        tenths = min(10 * done // max(self.total, 1), 10)
        if tenths > self._tenths:
            self._tenths = tenths
            self.say(f"{self.name}: {10 * tenths} % of {format_gib(self.total)}")


@contextmanager
def transfer(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows `total` bytes that arrive; it hears of each part. One that is lost again has a size below 0."""
    done = 0
    lines = TransferLines(name, total, err.say)
    with transfer_bar(name) as bar:

        def arrived(count: int) -> None:
            nonlocal done
            done += count
            bar(min(done, total), total)
            if not err.is_terminal:
                lines.show(done)

        arrived(0)
        yield arrived

"""`farm top`: the farm at a glance in a terminal, renewed until somebody leaves."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from common.errors import Unavailable
from common.states import IN_SERVICE
from common.terminal import styled
from common.units import counted, format_hourly
from common.views import JobSummary, NodeView, StatusView
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.show import out
from coordinator.client import FarmClient

#: Seconds between two looks.
_EVERY_S = 2.0
#: Seconds over which images per hour are counted, as the farm does for jobs.
_WINDOW_S = 120.0
_BAR_WIDTH = 16
#: Lines around jobs and nodes: the head, two empty lines, two headings, and one for what each leaves out.
_OTHER_LINES = 9
#: States of nodes in the order in which they are shown: what needs somebody, what works, the others.
_ORDER = ("quarantined", "lost", "busy", "selftest", "draining", "ready", "paused", "offline")
#: Keys; the last is the end of the input.
_LEAVE = ("q", "Q", "")


def top_command(settings: options.SettingsFile = None) -> None:
    """Show jobs, nodes and what waits in this terminal, renewed every two seconds; q leaves.

    Images per hour are the pace of the last two minutes. Without a terminal, prints what it would show, once.

    Example: `farm top`
    """
    with connect(settings) as client:
        screen = Screen(client.url)
        if not out.is_terminal:
            out.print(screen.frame(client.status(), time.time()))
            return
        with _keys() as pressed, Live(console=out, screen=True, auto_refresh=False) as live:
            while True:
                live.update(_look(client, screen), refresh=True)
                if pressed(_EVERY_S) in _LEAVE:
                    return


def _look(client: FarmClient, screen: Screen) -> RenderableType:
    try:
        return screen.frame(client.status(), time.time(), lines=out.height, width=out.width)
    except Unavailable as error:
        return Group(styled(str(error), style="yellow"), styled("retrying; q leaves", style="dim"))


class Screen:
    """What is shown of a farm, and the images that it had stored at the last looks."""

    def __init__(self, url: str) -> None:
        self._url = url
        #: Moment, and images rendered until then.
        self._looks: deque[tuple[float, int]] = deque()

    def frame(self, farm: StatusView, now: float, *, lines: int = 24, width: int = 80) -> RenderableType:
        """The screen, of so many lines and columns if they are enough for what is going on."""
        room = max(4, lines - _OTHER_LINES)
        for_jobs = max(1, min(len(farm.jobs), room - min(len(farm.nodes), room // 2)))
        return Group(
            self._head(farm, now, width),
            styled(""),
            _jobs(farm.jobs[:for_jobs]),
            *_more(len(farm.jobs) - for_jobs, "job"),
            styled(""),
            *_fleet(farm.nodes, max(1, room - for_jobs)),
        )

    def _head(self, farm: StatusView, now: float, width: int) -> RenderableType:
        waiting = sum(queue.waiting for queue in farm.queues)
        running = sum(job.counts.get("running", 0) for job in farm.jobs)
        states = Counter(node.state for node in farm.nodes)
        nodes = ", ".join(f"{states[state]} {state}" for state in _ORDER if states[state])
        head = Table.grid(expand=True)
        head.width = width
        head.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        head.add_column(justify="right", no_wrap=True)
        head.add_row(styled(self._url, style="bold"), f"{datetime.fromtimestamp(now):%H:%M:%S}  q leaves")
        head.add_row(styled(f"{counted(len(farm.nodes), 'node')}: {nodes or 'none has joined'}"), "")
        facts = [self._rate(now, farm.images), f"{running:,} running", f"{waiting:,} waiting"]
        if farm.broker != "up":
            facts.append(f"broker: {farm.broker}")
        head.add_row(styled(" · ".join(facts)), "")
        return head

    def _rate(self, now: float, stored: int) -> str:
        """Images per hour since the first look, or in the last two minutes."""
        self._looks.append((now, stored))
        while self._looks[0][0] < now - _WINDOW_S:
            self._looks.popleft()
        begin, before = self._looks[0]
        rate = format_hourly(max(0, stored - before) / (now - begin) * 60) if now > begin else "-"
        return f"{rate} images/h"


def _jobs(jobs: Sequence[JobSummary]) -> RenderableType:
    if not jobs:
        return styled("no job goes on", style="dim")
    shown = _table("job", "name", "status", "", "done", "")
    for job in jobs:
        done = job.counts.get("done", 0) + job.counts.get("accepted", 0)
        bar = ProgressBar(total=max(job.images, 1), completed=done, width=_BAR_WIDTH)
        failed = job.counts.get("failed", 0)
        shown.add_row(
            styled(job.id),
            styled(job.name),
            styled(job.status),
            bar,
            f"{done:,}/{job.images:,}",
            styled(f"{failed:,} failed", style="red") if failed else "",
        )
    return shown


def _fleet(nodes: Sequence[NodeView], lines: int) -> Iterator[RenderableType]:
    if not nodes:
        yield styled("no node has joined yet; start one with `farm-node run`", style="dim")
        return
    order = {state: place for place, state in enumerate(_ORDER)}
    ranked = sorted(nodes, key=lambda node: (order.get(node.state, len(order)), node.name))
    shown = _table("node", "state", "class", "model", "power", "")
    for node in ranked[:lines]:
        heat = f"{node.temperature_c:.0f} °C" if node.temperature_c is not None else ""
        watts = f"{node.watts:.0f} W" if node.watts is not None else ""
        shown.add_row(
            styled(node.name),
            styled(node.state, style="" if node.state in IN_SERVICE else "yellow"),
            f"{node.vram_class} GB",
            styled(node.loaded_model or ""),
            f"{watts} {heat}".strip(),
            styled(node.doing or node.reason or ("waits for work" if node.parked else "")),
        )
    yield shown
    yield from _more(len(ranked) - lines, "node")


def _table(*headings: str) -> Table:
    """Cells are cut, never wrapped, so that each row is one line."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        made.add_column(styled(heading), no_wrap=True, overflow="ellipsis")
    return made


def _more(number: int, noun: str) -> Iterator[RenderableType]:
    if number > 0:
        yield styled(f"… and {counted(number, f'more {noun}')}", style="dim")


@contextmanager
def _keys() -> Iterator[Callable[[float], str | None]]:
    """Yields what waits so many seconds for a key: None if none came, empty at the end of the input."""
    if not sys.stdin.isatty():
        yield time.sleep
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed(seconds: float) -> str | None:
        ready, _, _ = select.select([descriptor], [], [], seconds)
        return os.read(descriptor, 1).decode(errors="replace") if ready else None

    try:
        tty.setcbreak(descriptor)
        yield pressed
    finally:
        with suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

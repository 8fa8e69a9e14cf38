"""`farm top`: what the screen shows, that it fits, and that q leaves it."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

from rich.console import Console

from common.views import JobSummary, NodeView, QueueView, StatusView
from coordinator.cli.top import Screen
from tests.answering_farm import answering_farm
from tests.cards import card_facts
from tests.programs import own_environment

LONG = "a-model-with-a-name-that-is-much-longer-than-its-column"


def job(name: str, status: str = "running", **counts: int) -> JobSummary:
    return JobSummary(
        id=f"j-{name}", name=name, owner="ana", lane="public", priority=50, intent="active", status=status,
        submitted_at=0, images=sum(counts.values()), counts=counts,
    )  # fmt: skip


def node(name: str, state: str, **facts: object) -> NodeView:
    return NodeView(
        id=name, name=name, owner="farm", lanes=("public",), card="RTX 3060", facts=card_facts(12),
        terms="owned", vram_class=12, state=state, seen_at=0, **facts,
    )  # fmt: skip


def status(
    *, jobs: tuple[JobSummary, ...] = (), nodes: tuple[NodeView, ...] = (), images: int = 0
) -> StatusView:
    return StatusView(
        version="1", currency="EUR", started_at=0, broker="up", jobs=jobs, nodes=nodes, images=images,
        queues=(QueueView(lane="public", vram_class=8, waiting=40, tickets=0),),
        requests_per_minute=0, tickets_per_minute=0,
    )  # fmt: skip


def screen(farm: StatusView, page: Screen, now: float = 0.0, lines: int = 24) -> list[str]:
    console = Console(width=80, height=lines, file=io.StringIO())
    with console.capture() as captured:
        console.print(page.frame(farm, now, lines=lines))
    return captured.get().splitlines()


def test_the_screen_tells_jobs_nodes_rate_and_what_waits() -> None:
    page, nodes = Screen("http://farm"), (node("attic", "busy", loaded_model="sdxl", watts=120.4),)
    before, after = (job("tea", done=10, running=2),), (job("tea", done=16, failed=1),)
    screen(status(jobs=before, nodes=nodes, images=100), page)
    shown = "\n".join(screen(status(jobs=after, nodes=nodes, images=106), page, now=60.0))
    assert "360 images/h · 0 running · 40 waiting" in shown
    assert "1 node: 1 busy" in shown
    for words in ("j-tea", "16/17", "1 failed", "attic", "12 GB", "sdxl", "120 W"):
        assert words in shown


def test_the_screen_fits_the_terminal_however_much_there_is() -> None:
    jobs = tuple(job(f"{LONG}-{number}", done=1, failed=3) for number in range(70))
    nodes = tuple(node(f"{LONG}-{number}", "ready", loaded_model=LONG, reason=LONG) for number in range(90))
    nodes += (node("broken", "lost"),)
    shown = screen(status(jobs=jobs, nodes=nodes), Screen("http://farm"))
    assert len(shown) <= 24
    assert max(map(len, shown)) <= 80
    assert "more jobs" in "".join(shown)
    assert "more nodes" in "".join(shown)
    assert any(line.startswith("broken") for line in shown)


def test_an_empty_farm_says_what_to_do() -> None:
    shown = "\n".join(screen(status(), Screen("http://farm")))
    assert "no job goes on" in shown
    assert "`farm-node run`" in shown


def test_q_leaves_the_screen_and_the_terminal_is_as_before() -> None:
    with answering_farm() as farm:
        ours, theirs = pty.openpty()
        environment = own_environment() | {
            "FARM_PUBLIC_URL": farm.url, "FARM_KEYS__OPERATOR": "operator-key", "TERM": "xterm",
        }  # fmt: skip
        command = [sys.executable, "-m", "coordinator.cli.main", "top"]
        with subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, close_fds=True
        ) as top:
            os.close(theirs)
            shown = b""
            while b"q leaves" not in shown:
                shown += os.read(ours, 65536)
            os.write(ours, b"q")
            assert top.wait(60) == 0
        os.close(ours)
    assert b"\x1b[?1049h" in shown

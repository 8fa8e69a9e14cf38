"""A long run without faults: `python -m tests.faults.soak --shots N`.

A whole farm of real processes makes as many pictures as it can, with the engine that draws. Once it is
warm, the memory of every process is sampled against the shots done. The exit code is 0 only if all shots are
done, once each and every picture another, and no process grew faster than its limit; else the folder is kept.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from common.settings import Timing
from common.views import Submit
from coordinator.embedded.state import read_state
from tests.benchmarks.machine import describe_machine
from tests.faults.memory import Courses
from tests.faults.target import NODES, Target

_SAMPLE_S = 1.0
#: Shots of a job, and how many may wait before another job is submitted.
_JOB = 500
_WAITING = 500
#: Rows of so many shots fill the coordinator's caches of the ledger; short runs are warm earlier.
_CACHED = 5000
#: Its garbage comes and goes by a quarter of its heap over more shots than a short run has.
_JUDGED_IN_LONG_RUNS = "seaweedfs"
#: Nothing was done for so long: the farm hangs.
_STANDSTILL_S = 120.0
#: Batches of some seconds: the engine that draws would be given thousands of shots at once.
_TIMING = Timing(batch_s=5)

_MANIFEST = """\
version: 1
name: soak-{number}
shots:
- name: mug
  model: tiny
  prompt: a mug with the number {{number}} on it
  axes: {{number: {{from: {first}, to: {last}}}}}
  size: 128x128
  steps: 4
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a soak was at one moment."""

    done: int
    #: Monotonic seconds.
    at: float
    #: Bytes of the ledger, by table and index.
    sizes: dict[str, int]
    #: Seconds of processor so far, by process.
    cpu_s: dict[str, float]


@dataclass(slots=True)
class Soak:
    target: Target
    shots: int
    #: Shots after which memory is judged.
    warm: int
    #: MB that a process may grow by in 1,000 shots.
    limit_mb: float
    courses: Courses = field(default_factory=Courses)
    #: When warm and at the end.
    marks: list[Mark] = field(default_factory=list)
    _submitted: int = 0

    def run(self) -> None:
        """Keep the farm busy until all shots are done. AssertionError: it hangs."""
        pause = threading.Event()
        done, since = -1, time.monotonic()
        while done < self.shots:
            before, done = done, self._done()
            now = time.monotonic()
            since = now if done != before else since
            assert now - since < _STANDSTILL_S, f"the farm hangs at {done}\n{self.target.house.logs()}"
            while self._submitted < min(self.shots, done + _WAITING + _JOB):
                self._submit()
            self.courses.sample(_processes(self.target), done)
            if (done >= self.warm and not self.marks) or done == self.shots:
                self.marks.append(Mark(done, now, _sizes(self.target), _processor_s(self.target)))
            if done // 1000 != before // 1000:
                print(f"{done} shots are done", flush=True)
            pause.wait(_SAMPLE_S)

    def fill_caches(self) -> None:
        """Let the coordinator hold as much of the ledger as it ever will, by a job that is cancelled."""
        manifest = _MANIFEST.format(number="cancelled", first=self.shots, last=self.shots + _CACHED - 1)
        with self.target.client() as client:
            client.steer_job(client.submit(Submit(manifest=manifest)).id, "cancel")

    def _done(self) -> int:
        (row,) = self.target.rows("SELECT count(*) AS shots FROM images")
        return int(row["shots"])

    def _submit(self) -> None:
        first = self._submitted
        last = min(first + _JOB, self.shots) - 1
        manifest = _MANIFEST.format(number=first // _JOB, first=first, last=last)
        with self.target.client() as client:
            client.submit(Submit(manifest=manifest))
        self._submitted = last + 1


def _processes(target: Target) -> dict[str, int]:
    """Every process of the farm."""
    state = read_state(target.home)
    assert state is not None
    found = {"supervisor": state.pid} | {part.name: part.pid for part in state.components if part.pid}
    engines_ = {f"{node}'s engine": target.engine(node) for node, _ in NODES}
    return found | {name: pid for name, pid in engines_.items() if pid}


def _processor_s(target: Target) -> dict[str, float]:
    times = {name: psutil.Process(pid).cpu_times() for name, pid in _processes(target).items()}
    return {name: used.user + used.system for name, used in times.items()}


def _sizes(target: Target) -> dict[str, int]:
    """Bytes of the ledger by table or index, and rows of the event log."""
    sizes = target.rows("SELECT name, sum(pgsize) AS bytes FROM dbstat GROUP BY name")
    (events,) = target.rows("SELECT count(*) AS rows FROM events")
    return {row["name"]: row["bytes"] for row in sizes} | {"rows of events": events["rows"]}


def _judge(soak: Soak) -> Iterator[tuple[bool, str]]:
    """What must hold, and whether it does."""
    for name in soak.courses.points:
        if name == _JUDGED_IN_LONG_RUNS and soak.warm < _CACHED:
            continue
        growth = soak.courses.growth(name, since=soak.warm) * 1000
        points = [mb for _, mb in soak.courses.after(name, soak.warm)]
        restarted = len(soak.courses.pids[name]) > 1
        yield (
            growth <= soak.limit_mb and not restarted,
            f"{name}: {growth:+.2f} MB per 1,000 shots, at most {soak.limit_mb:g}; "
            f"{points[0]:.0f} MB when warm, {points[-1]:.0f} MB at the end"
            f"{', but it was started again' * restarted}",
        )
    (shots,) = soak.target.rows("SELECT count(*) AS shots FROM shots WHERE state = 'done'")
    yield shots["shots"] == soak.shots, f"{shots['shots']} of {soak.shots} shots are done"
    (stored,) = soak.target.rows(
        "SELECT count(*) AS attempts, count(DISTINCT sha256) AS pictures FROM attempts WHERE state = 'stored'"
    )
    yield stored["attempts"] == soak.shots, f"they were stored by {stored['attempts']} attempts"
    yield stored["pictures"] == soak.shots, f"{stored['pictures']} different pictures were uploaded"
    objects = len(soak.target.objects("images/"))
    yield objects == soak.shots, f"{objects} objects are in the store"


def _figures(soak: Soak) -> Iterator[str]:
    warm, end = soak.marks
    shots = end.done - warm.done
    grown = {name: size - warm.sizes.get(name, 0) for name, size in end.sizes.items()}
    rows = grown.pop("rows of events")
    events = sum(size for name, size in grown.items() if name.startswith("events"))
    seconds = end.at - warm.at
    yield f"{shots} shots in {seconds:.0f} s after {warm.done} to get warm: {shots / seconds:.1f} a second"
    yield f"a shot takes {sum(grown.values()) / shots:,.0f} bytes in the ledger,"
    yield f"of them {events / shots:,.0f} for {rows / shots:.1f} rows of the event log and their index"
    used = {name: 1000 * (end.cpu_s[name] - warm.cpu_s[name]) / shots for name in end.cpu_s}
    yield f"and {sum(used.values()):.1f} ms of processor: " + ", ".join(
        f"{name} {ms:.1f}" for name, ms in sorted(used.items(), key=lambda one: -one[1])
    )
    yield ", ".join(f"{name}: {value}" for name, value in describe_machine().items())


def _run(folder: Path, shots: int, warm: int, limit_mb: float) -> bool:
    target = Target.furnished(folder, "quick", timing=_TIMING)
    soak = Soak(target, shots, warm, limit_mb)
    try:
        target.house.farm("up")
        if warm < _CACHED:
            soak.fill_caches()
        else:
            target.fill_store_buffers()
        soak.run()
        judged = list(_judge(soak))
    except AssertionError as error:
        print(error)
        return False
    finally:
        target.house.farm("down")
    for held, sentence in judged:
        print(f"{'held' if held else 'BROKEN':7} {sentence}")
    print("\n".join(_figures(soak)))
    return all(held for held, _ in judged)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--shots", type=int, default=20_000)
    parser.add_argument("--warm", type=int, help="shots before memory is judged; default: a quarter")
    parser.add_argument("--limit", type=float, default=1.0, help="MB a process may grow by in 1,000 shots")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    if _run(folder, options.shots, options.warm or options.shots // 4, options.limit):
        shutil.rmtree(folder)
        return 0
    print(f"NOT all held; everything is in {folder}")
    return 1


if __name__ == "__main__":
    sys.exit(main())

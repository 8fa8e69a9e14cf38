"""A seeded run under faults: `python -m tests.faults.chaos --seed N --minutes M`.

A whole farm of real processes works on jobs while, every few seconds, something of it is killed, stopped,
emptied or littered, or refused by its store, and an operator interferes; then engines stand still at the end
of some jobs. Half of its nodes are volunteers' behind its gateway, of whom one delivers false images, and one
claims work that it never does. Afterwards all rules must hold, by ledger, event log and store together. The
seed decides what is done and when; what the processes make of it is theirs. The exit code is 0 only if every
rule held; otherwise the folder of the run is kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import redis

from tests.e2e.conftest import CARDS
from tests.e2e.farmhouse import Farmhouse
from tests.faults import engines
from tests.faults.blows import FAULTS, Blow, Fault, postgres_faults
from tests.faults.drain import draining
from tests.faults.evidence import Evidence, Felled, gather
from tests.faults.last_passes import last_passes
from tests.faults.proxied_store import proxied_store
from tests.faults.report import figures
from tests.faults.rules import RULES
from tests.faults.store_blows import store_faults
from tests.faults.target import QUICK_TIMING, TIMING, Target
from tests.faults.volunteer_rules import VOLUNTEER_RULES, attackers_leases, volunteer_figures
from tests.faults.volunteers import CHEATER, LIES, UPRIGHT, lies_told, volunteering
from tests.faults.watch import Watch
from tests.faults.work import SHOTS_A_JOB, Operator
from tests.postgres import running_postgres

#: Seconds between two faults.
_PAUSE_S = (2.0, 6.0)
#: At peace, a farm in which nothing changes for so long hangs; a model that loads without end takes longest.
_STANDSTILL_S = TIMING.stall_load_s + 60
_SHOWN = 5
#: Of the farm itself; as many render behind its gateway, one of them falsely, beside one that never does.
_OWN_NODES = (("node-8", "gtx-1070.yaml"), ("node-24", "rtx-4090.yaml"))
#: The machine of another one has no room for the text encoder: it takes what others have encoded.
_LITTLE = """
{name: little, vram_gib: 6, usable_gib: 5.6, ram_gib: 0.0108, compute_capability: "7.5", watts: 125}
"""
#: At least; the last is to be cancelled.
_JOBS = 3
#: Minutes under faults for each job of which an engine stands still at its end.
_MINUTES_AN_END = 0.5


@dataclass(slots=True)
class Siege:
    """Faults done to a farm at work, one after the other."""

    target: Target
    draw: Random
    faults: tuple[Fault, ...]
    began: float = field(default_factory=time.monotonic)
    done: Counter[str] = field(default_factory=Counter)
    felled: list[Felled] = field(default_factory=list)
    #: When to end a blow that lasts, monotonic.
    _lasting: list[tuple[float, Blow]] = field(default_factory=list)

    def say(self, what: str) -> None:
        print(f"{time.monotonic() - self.began:7.1f} s  {what}", flush=True)

    def lay(self, seconds: float) -> None:
        """Strike every few seconds; whatever lasts is over when this returns."""
        end = time.monotonic() + seconds
        pause = threading.Event()
        next_at = time.monotonic() + self.draw.uniform(*_PAUSE_S)
        while time.monotonic() < end:
            pause.wait(max(0.0, min([next_at, *(at for at, _ in self._lasting)]) - time.monotonic()))
            self._relieve(time.monotonic())
            if time.monotonic() >= next_at:
                self._strike()
                next_at = time.monotonic() + self.draw.uniform(*_PAUSE_S)
        while self._lasting:
            pause.wait(max(0.0, min(at for at, _ in self._lasting) - time.monotonic()))
            self._relieve(time.monotonic())

    def _strike(self) -> None:
        """The next fault that can be done now."""
        at = time.time()
        blow: Blow | None = None
        while blow is None:
            (fault,) = self.draw.choices(self.faults, [fault.weight for fault in self.faults])
            # A broker that is away already cannot be emptied.
            with suppress(redis.RedisError):
                blow = fault.strike(self.target, self.draw)
        self.done[fault.name] += 1
        self.felled += [Felled(node=node, at=at, by=blow.what) for node in blow.felled]
        if blow.end is not None:
            self._lasting.append((time.monotonic() + blow.lasts_s, blow))
        self.say(blow.what)

    def _relieve(self, now: float) -> None:
        for at, blow in list(self._lasting):
            if at <= now and blow.end is not None:
                blow.end()
                self._lasting.remove((at, blow))


def besiege(
    target: Target, faults: tuple[Fault, ...], elsewhere: Path, options: argparse.Namespace
) -> tuple[Evidence, Siege]:
    """Run a farm under faults and let it finish its work; volunteers have homes in the folder `elsewhere`.

    AssertionError: it hangs.
    """
    target.house.farm("up")
    siege, watch = Siege(target, Random(options.seed), faults), Watch(target)
    lie = LIES[options.seed % len(LIES)]
    siege.say(f"the false images of {CHEATER.name} are {lie}")
    with volunteering(target, elsewhere, options.engine, lie), watch.watching():
        with draining(target, elsewhere):
            _work_under(siege, options)
            _await_rest(target)
        siege.say("the attacker is gone")
        ends = max(1, round(options.minutes / _MINUTES_AN_END))
        siege.felled += last_passes(target, siege.draw, siege.say, jobs=ends)
        _await_rest(target)
        siege.say("at rest")
        found = gather(target, watch, siege.felled)
    return replace(found, lies=lies_told(elsewhere)), siege


def _work_under(siege: Siege, options: argparse.Namespace) -> None:
    """An operator gives the farm work while it is besieged, and then lets it finish."""
    target = siege.target
    steered = [name for name in target.nodes if name != CHEATER.name]
    operator = Operator(target, Random(f"{options.seed} operator"), siege.say, steered)
    enough = threading.Event()
    working = threading.Thread(
        target=operator.work,
        args=(enough,),
        kwargs={"jobs": max(_JOBS, -(-options.shots // SHOTS_A_JOB))},
        name="operator",
    )
    working.start()
    try:
        siege.lay(options.minutes * 60)
    finally:
        enough.set()
        working.join()
    siege.say(f"no more faults, after {operator.acts} acts of the operator")
    target.house.wait_for(target.is_ready, bool)
    siege.say(f"all parts are ready; {operator.settle()} is cancelled, all others go on")


#: What else goes on while all shots are settled.
_UNREST = (
    "SELECT 1 FROM batches WHERE state = 'leased'",
    "SELECT 1 FROM verifications WHERE verdict IS NULL",
    "SELECT 1 FROM deleted_images WHERE erased_at IS NULL",
)


def _await_rest(target: Target) -> None:
    """Until every shot is settled, and what is false or only compared is deleted.

    As long as something changes it may take.
    """
    pause = threading.Event()
    before, since = -1, time.monotonic()
    while True:
        (row,) = target.rows("SELECT max(id) AS last FROM events WHERE noun = 'shot'")
        left = target.rows(
            "SELECT state, count(*) AS shots FROM shots"
            " WHERE state NOT IN ('done', 'failed', 'cancelled') GROUP BY state"
        )
        if not left and not any(map(target.rows, _UNREST)):
            return
        if row["last"] != before:
            before, since = row["last"], time.monotonic()
        assert time.monotonic() - since < _STANDSTILL_S, f"the farm hangs: {left}\n{target.house.logs()}"
        pause.wait(0.5)


def _judge(found: Evidence) -> bool:
    held = True
    for rule in (*RULES, *VOLUNTEER_RULES):
        broken = list(rule(found))
        held = held and not broken
        print(f"{'BROKEN' if broken else 'held':7} {rule.__name__.replace('_', ' ')}")
        for sentence in broken[:_SHOWN]:
            print(f"        {sentence}")
        if broken[_SHOWN:]:
            print(f"        and {len(broken) - _SHOWN} more")
    return held


def _run(folder: Path, options: argparse.Namespace) -> bool:
    farm, elsewhere = folder / "farm", folder / "elsewhere"
    farm.mkdir()
    elsewhere.mkdir()
    with proxied_store(folder / "store") as store, _database(options.database) as (url, database_faults):
        little = folder / "little.yaml"
        little.write_text(_LITTLE)
        cards = (("node-6", str(little)), *((name, str(CARDS / card)) for name, card in _OWN_NODES))
        settings: dict[str, Any] = {
            "database_url": url,
            "nodes": [{"name": name, "card": card} for name, card in cards],
            "gateway": {"listen": "127.0.0.1"},
        }
        os.environ["MANY_DUPLICATES"] = "1"
        timing = QUICK_TIMING if options.engine == "quick" else TIMING
        target = Target.furnished(farm, options.engine, timing=timing, store=store, **settings)
        faults = (*FAULTS, *store_faults(store), *database_faults)
        try:
            found, siege = besiege(target, faults, elsewhere, options)
            found = replace(found, store_outages=store.ailed, stall_load_s=timing.stall_load_s)
        except AssertionError as error:
            print(error)
            return False
        finally:
            target.house.farm("down")
    held = _judge(found)
    left = [*target.house.processes(), *Farmhouse(elsewhere).processes()]
    print(f"{'BROKEN' if left else 'held':7} nothing is left running {left or ''}")
    submitted = len(found.submitted)
    few = submitted < options.shots
    print(f"{'BROKEN' if few else 'held':7} at least {options.shots} shots were submitted: {submitted}")
    missed = [what for what, number in _in_play(found, options.engine).items() if not number]
    print(f"{'MISSED' if missed else 'held':7} all that the run is to show occurred {missed or ''}")
    print(f"seed {options.seed}, {options.minutes:g} minutes, {options.engine} engine, {options.database}")
    print(f"{siege.done.total()} faults; {store.proxy.met} calls met a store in trouble")
    print(", ".join(f"{number} × {name}" for name, number in sorted(siege.done.items())))
    print("\n".join([*figures(found), *volunteer_figures(found)]))
    return held and not left and not few and not missed


def _in_play(found: Evidence, engine: str) -> dict[str, int]:
    """How often each thing occurred without which a run says too little; the quick engine embeds no texts."""
    batches = found.tables["batches"]
    kept = Counter(image["node_id"] for image in found.tables["images"])
    occurred = {
        "shots taken back": sum(batch["trimmed"] for batch in batches),
        "duplicates": sum(batch["duplicates"] is not None for batch in batches),
        "batches of stored embeddings only": sum(not batch["encodes"] for batch in batches),
        "images of upright volunteers": sum(kept[one.name] for one in UPRIGHT),
        "false images": len(found.lies),
        "leases of the attacker": len(attackers_leases(found)),
    }
    if engine == "quick":
        del occurred["batches of stored embeddings only"]
    return occurred


@contextmanager
def _database(kind: str) -> Iterator[tuple[str, tuple[Fault, ...]]]:
    """The URL of a fresh one and its faults; SQLite is the farm's own, and has neither."""
    if kind == "sqlite":
        yield "", ()
        return
    with running_postgres() as socket:
        yield f"postgresql://farm@/postgres?host={socket}", postgres_faults(socket)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=3.0, help="how long faults are done")
    parser.add_argument("--shots", type=int, default=600, help="at least so many different ones")
    parser.add_argument("--engine", choices=engines.ENGINES, default="diffusers")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    if _run(folder, options):
        shutil.rmtree(folder)
        print("all rules held")
        return 0
    print(f"NOT all rules held; seed {options.seed}, everything is in {folder}")
    return 1


if __name__ == "__main__":
    sys.exit(main())

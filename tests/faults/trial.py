"""One fault done to a farm at work: jobs of its own, what was felled, and the verdict by the rules."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from common.settings import Timing
from common.views import Submit
from tests.faults.evidence import Evidence, Felled, Row, gather
from tests.faults.proxied_store import ProxiedStore
from tests.faults.rules import COMMON_RULES
from tests.faults.target import TIMING, Target
from tests.faults.watch import Watch

NODES = ("node-8a", "node-24")
_SETTLED = ("done", "failed", "cancelled")
#: Of a job: more than the two nodes take with their first batches.
_MORE_THAN_TAKEN_AT_ONCE = 48


@dataclass(slots=True)
class Trial:
    """Of the farm at `target`; what other trials did to it does not count."""

    target: Target
    watch: Watch
    jobs: list[str] = field(default_factory=list)
    felled: list[Felled] = field(default_factory=list)

    def submit(
        self,
        *,
        shots: int = 24,
        steps: int = 30,
        size: str = "128x128",
        subject: str = "",
        max_cost: float | None = None,
    ) -> str:
        """A job of new shots, or of those of an earlier one with the same subject; a step takes 0.05 s."""
        group = {
            "name": "mug",
            "model": "tiny",
            "prompt": f"mug {{number}} of {subject or uuid4()}",
            "axes": {"number": {"from": 1, "to": shots}},
            "size": size,
            "steps": steps,
        }
        limits = {} if max_cost is None else {"limits": {"max_cost": max_cost}}
        manifest = yaml.safe_dump({"version": 1, "name": "trial", "shots": [group], **limits})
        with self.target.client() as client:
            job = client.submit(Submit(manifest=manifest, source="trial.yaml")).id
        self.jobs.append(job)
        return job

    def begin(self, **job: Any) -> str:
        """Submit a job and wait until some of it is done and a node has just leased more; that node."""
        # More than both nodes take at once, so that they lease more.
        self.submit(**{"shots": _MORE_THAN_TAKEN_AT_ONCE} | job)
        self.target.house.wait_for(lambda: self.fates()["done"], bool)
        return self.node_at_work(since=time.time())

    def node_at_work(self, *, since: float) -> str:
        """A node that holds a batch of this trial which it has leased since then."""
        return str(self._leased(lambda batch: batch["leased_at"] > since)["node_id"])

    def until_leased(self, node: str) -> None:
        """Wait until the node holds a batch of this trial and has begun to render it."""
        self._leased(lambda batch: batch["node_id"] == node and "denoise" in batch["spent_s"])

    def felling(self, node: str, by: str) -> None:
        """To be said right before the node dies or falls silent."""
        self.felled.append(Felled(node=node, at=time.time(), by=by))

    def fates(self) -> Counter[str]:
        """Number of this trial's shots in each state."""
        states = self.target.rows(
            "SELECT DISTINCT shots.id, state FROM shots JOIN wants ON shot_id = shots.id"
            f" WHERE job_id IN ({self._own})"
        )
        return Counter(row["state"] for row in states)

    def batches(self) -> list[Row]:
        """Of this trial, the oldest first."""
        return self.target.rows(f"SELECT * FROM batches WHERE job_id IN ({self._own}) ORDER BY leased_at")

    def in_hand(self) -> list[str]:
        """Batches of this trial that are not over."""
        return [batch["id"] for batch in self.batches() if not batch["closed_at"]]

    def stored(self) -> set[str]:
        """Attempts of this trial whose picture is stored."""
        stored = self.target.rows(
            f"SELECT id FROM attempts WHERE job_id IN ({self._own}) AND state = 'stored'"
        )
        return {attempt["id"] for attempt in stored}

    def settle(self) -> None:
        """Wait until every shot is settled and nothing is in hand."""
        self.target.house.wait_for(
            lambda: (self.fates(), self.in_hand()),
            lambda found: not found[1] and not set(found[0]).difference(_SETTLED),
        )

    def judge(self) -> Evidence:
        """What is left once all is settled; every rule must hold by it, and every wanted shot be done."""
        self.settle()
        found = self._own_part(gather(self.target, self.watch, self.felled))
        broken = [sentence for rule in COMMON_RULES for sentence in rule(found)]
        states = {shot["id"]: (shot["state"], shot["failure"]) for shot in found.tables["shots"]}
        broken += [f"{shot[:12]} is {states[shot]}" for shot in found.wanted if states[shot][0] != "done"]
        assert not broken, "\n".join([*broken, self.target.house.logs()])
        return found

    @property
    def _own(self) -> str:
        return ", ".join(f"'{job}'" for job in self.jobs)

    def _leased(self, is_meant: Callable[[Row], bool]) -> Row:
        def meant() -> list[Row]:
            return [batch for batch in self.batches() if batch["state"] == "leased" and is_meant(batch)]

        return self.target.house.wait_for(meant, bool)[-1]

    def _own_part(self, found: Evidence) -> Evidence:
        """Without the rows and objects of other trials; nodes are everybody's."""
        tables = dict(found.tables)
        for table in ("wants", "batches", "attempts"):
            tables[table] = [row for row in tables[table] if row["job_id"] in self.jobs]
        tables["jobs"] = [job for job in tables["jobs"] if job["id"] in self.jobs]
        mine = {want["shot_id"] for want in tables["wants"]}
        tables["shots"] = [shot for shot in tables["shots"] if shot["id"] in mine]
        tables["images"] = [image for image in tables["images"] if image["shot_id"] in mine]
        subjects = {row["id"] for name in ("shots", "attempts", "batches", "nodes") for row in tables[name]}
        tables["events"] = [event for event in tables["events"] if event["subject"] in subjects]
        others = {image["key"] for image in found.tables["images"] if image["shot_id"] not in mine}
        foreign = {batch["id"] for batch in found.tables["batches"] if batch["job_id"] not in self.jobs}
        with self.target.client() as client:
            told_cost = sum(client.job(job).cost for job in self.jobs)
        return replace(
            found,
            tables=tables,
            pictures={key: kept for key, kept in found.pictures.items() if key not in others},
            quarantine=[key for key in found.quarantine if key.split("/")[1] not in foreign],
            changed=found.changed - others,
            gone=found.gone - others,
            told_cost=told_cost,
        )


@contextmanager
def farm_at_work(
    folder: Path,
    *,
    nodes: tuple[str, ...] = NODES,
    timing: Timing = TIMING,
    store: ProxiedStore | None = None,
    **settings: object,
) -> Iterator[Watch]:
    """A farm of quick engines with some of the nodes of `target.NODES` and further settings, watched."""
    target = Target.furnished(folder, "quick", timing=timing, store=store, **settings)
    file = target.house.folder / "farm.yaml"
    wanted = yaml.safe_load(file.read_text())
    wanted["nodes"] = [node for node in wanted["nodes"] if node["name"] in nodes]
    file.write_text(yaml.safe_dump(wanted))
    watch = Watch(target)
    try:
        began = time.time()
        target.house.farm("up")
        # A start is followed by grace, as an outage is.
        watch.outages.append((began, time.time()))
        with watch.watching():
            yield watch
    finally:
        target.house.farm("down")

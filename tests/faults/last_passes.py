"""The end of a job under faults: an engine stands still, so that what it has is taken back and duplicated.

Nodes that always find something that waits neither take from others nor duplicate. What becomes of the two
attempts at one pass is drawn.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random

from common.views import Submit
from tests.faults.evidence import Felled, Row
from tests.faults.target import Target, send
from tests.waiting import until

#: What the nodes other than the one without room for the text encoder share: several passes for each.
_MANIFEST = """\
version: 1
name: end-{number}
shots:
- name: end-{number}
  model: tiny
  prompt: "the last mug {{number}} of {number}"
  axes: {{number: {{from: 1, to: 60}}}}
  size: 128x128
  steps: 40
"""
#: Longer than an idle node needs to be the faster one, shorter than what ends an engine as hung.
_STANDS_STILL_S = 20.0
#: A job may be over before an engine of it could be stopped.
_TRIES = 3
_ENDINGS = ("the engine goes on", "the engine is killed", "the node of the duplicate is killed")


def last_passes(target: Target, draw: Random, say: Callable[[str], None], *, jobs: int) -> list[Felled]:
    """The end of so many jobs, on a farm that is whole and has nothing else to do; the nodes that died."""
    felled: list[Felled] = []
    endings = draw.sample(_ENDINGS, len(_ENDINGS))
    for number in range(jobs):
        for attempt in range(_TRIES):
            found = _duplicated(target, say, f"{number}-{attempt}", endings[number % len(endings)])
            if found is not None:
                felled += found
                break
    return felled


def _duplicated(target: Target, say: Callable[[str], None], number: str, ending: str) -> list[Felled] | None:
    """The nodes that died once a pass was duplicated; None if none was."""
    with target.client() as client:
        job = client.submit(Submit(manifest=_MANIFEST.format(number=number), source="end.yaml")).id
    slow = until(lambda: _at_work(target, job), lambda found: found != {}, evidence=target.house.logs)
    engine = target.engine(slow["node_id"]) if slow else None
    if slow is None or engine is None or not send(engine, signal.SIGSTOP):
        return None
    try:
        copy = _copy(target, slow["id"])
        say(f"SIGSTOP of the engine of {slow['node_id']} in {job}; {'duplicated' if copy else 'in vain'}")
        if copy is None:
            return None
        say(ending)
        if ending == "the engine goes on":
            return []
        node = slow["node_id"] if ending == "the engine is killed" else copy["node_id"]
        victim = engine if node == slow["node_id"] else target.pid(node)
        at = time.time()
        if victim is None or not target.may_kill(node) or not send(victim, signal.SIGKILL):
            return []
        return [Felled(node=node, at=at, by="kill -9")]
    finally:
        send(engine, signal.SIGCONT)


def _at_work(target: Target, job: str) -> Row | None:
    """The batch of a job with the most left, once nothing waits; None if all is over, {} before."""
    left = target.rows(
        "SELECT state, count(*) AS shots FROM shots JOIN wants ON shot_id = shots.id WHERE job_id = :job"
        " AND state NOT IN ('done', 'failed', 'cancelled') GROUP BY state",
        job=job,
    )
    if not left:
        return None
    running = target.rows(
        "SELECT batches.id, batches.node_id, spent_s FROM batches JOIN attempts ON batch_id = batches.id"
        " WHERE batches.job_id = :job AND batches.state = 'leased' AND attempts.state = 'running'",
        job=job,
    )
    shots = Counter(row["id"] for row in running)
    begun = [row for row in running if "denoise" in row["spent_s"]]
    waits = any(row["state"] == "waiting" for row in left)
    return {} if waits else max(begun, key=lambda row: shots[row["id"]], default={})


def _copy(target: Target, batch: str) -> Row | None:
    """The batch that duplicates another, as soon as there is one; None if there is none in time."""
    query = "SELECT id, node_id FROM batches WHERE duplicates = :batch"
    with suppress(AssertionError):
        return until(lambda: target.rows(query, batch=batch), bool, within_s=_STANDS_STILL_S)[0]
    return None

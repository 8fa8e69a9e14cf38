"""What the farm under faults has to do: jobs that share shots, and an operator who changes his mind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random

import httpx
from sqlalchemy.exc import OperationalError

from common.errors import Conflict, FarmError, Unavailable
from common.views import JobSummary, Submit
from coordinator.client import FarmClient
from coordinator.ledger.verification import PAYER
from tests.faults.target import Target

#: Names the two shots that no farm can make; one ends its engine, the other is longer than the model reads.
DEADLY, ENDLESS = "deadly", "endless"

_JOB = """\
version: 1
name: job-{number}
priority: {priority}
shots:
{groups}{hopeless}output: {{name: "{{group}}/{{number}}-{{seed}}"}}
"""
_MUGS = """\
- name: mug-{block}
  model: tiny
  prompt: a mug with the number {{number}} on it
  axes: {{number: {{from: {first}, to: {last}}}}}
  seeds: 2
  {kind}
"""
_TREES = """\
- name: tree-{block}
  model: tiny-24
  prompt: a tree with {{number}} leaves
  axes: {{number: {{from: {first}, to: {last}}}}}
  {kind}
"""
_HOPELESS = f"""\
- name: {DEADLY}
  model: tiny
  prompt: the gaze of a basilisk {{number}}
  axes: {{number: [0]}}
  size: 128x128
  steps: 2
- name: {ENDLESS}
  model: tiny
  prompt: "{{number}} {"and on " * 100}"
  axes: {{number: [0]}}
  size: 128x128
  steps: 2
"""
#: Work of several kinds, so that a node's passes and the shares of owners differ in size; a block has one.
_KINDS = (
    ("guidance: 0", "steps: 8", "size: 128x128"),
    ("guidance: 7", "steps: 8", "size: 128x128"),
    ("guidance: 0", "steps: 12", "size: 128x192"),
    ("guidance: 7", "steps: 4", "size: 192x128"),
)
_OWNERS = ("ana", "ben", "cleo")
#: Numbers of a block. A job has two blocks, and the second is also the first of the next job.
_MUGS_A_BLOCK, _TREES_A_BLOCK = 30, 5
#: Shots that a further job adds.
SHOTS_A_JOB = _MUGS_A_BLOCK * 2 + _TREES_A_BLOCK
#: The first jobs want the hopeless shots too.
_HOPELESS_JOBS = 2
#: Share of the operator's acts that concern a node.
_OF_NODES = 0.3


def manifest(number: int, priority: int) -> str:
    """Job `number`, from 0: half of its shots are also the next one's."""
    return _JOB.format(
        number=number,
        priority=priority,
        groups="".join(_group(number + half) for half in range(2)),
        hopeless=_HOPELESS if number < _HOPELESS_JOBS else "",
    )


def _group(block: int) -> str:
    kind = "\n  ".join(_KINDS[block % len(_KINDS)])
    sizes = {_MUGS: _MUGS_A_BLOCK, _TREES: _TREES_A_BLOCK}
    return "".join(
        group.format(block=block, first=block * size, last=(block + 1) * size - 1, kind=kind)
        for group, size in sizes.items()
    )


class Operator:
    """Submits jobs, steers them and the nodes; each act may be refused."""

    _VERBS = ("pause", "resume", "resume", "cancel", "requeue", "requeue", "retry", "priority", "priority")
    _NODE_VERBS = ("drain", "pause", "resume", "resume", "quarantine", "forgive", "forgive")

    def __init__(
        self, target: Target, draw: Random, say: Callable[[str], None], nodes: Sequence[str]
    ) -> None:
        """`nodes` are those that may be steered."""
        self._target = target
        self._nodes = nodes
        self._draw = draw
        self._say = say
        self._submitted = 0
        self.acts = 0

    def work(self, until: threading.Event, *, jobs: int) -> None:
        """Submit `jobs` and more where the farm runs dry, and interfere with them, until told to stop."""
        while not until.is_set():
            try:
                if self._submitted < jobs or self._runs_dry():
                    self._submit()
                elif self._draw.random() < _OF_NODES:
                    self._steer_node()
                else:
                    self._steer_job()
            except (FarmError, OperationalError) as error:
                self._say(f"operator: refused: {error}")
            until.wait(self._draw.uniform(1.0, 4.0))

    def settle(self) -> str:
        """Let the farm finish: one job is cancelled for good, all others and all nodes go on.

        Returns the cancelled one.
        """
        with self._target.client() as client:
            ids = [job.id for job in _own(client)]
        doomed = self._draw.choice(ids[:-_HOPELESS_JOBS])
        self._post(f"jobs/{doomed}", "cancel")
        for job in ids:
            # A submission that was cut off is cancelled for good: it was submitted again.
            with suppress(Conflict):
                if job != doomed:
                    self._post(f"jobs/{job}", "requeue")
        for node in self._nodes:
            # Most of them are neither paused, draining nor quarantined.
            with suppress(Conflict):
                self._post(f"nodes/{node}", "resume")
            with suppress(Conflict):
                self._post(f"nodes/{node}", "forgive")
        return doomed

    def _submit(self) -> None:
        text = manifest(self._submitted, self._draw.randrange(100))
        owner = self._draw.choice(_OWNERS)
        with self._target.client() as client:
            job = client.submit(Submit(manifest=text, source=f"job-{self._submitted}.yaml", owner=owner))
        self._submitted += 1
        self._say(f"operator: submits {job.name} of {owner}: {job.new} new shots, {job.reused} reused")

    def _steer_job(self) -> None:
        with self._target.client() as client:
            job = self._draw.choice(_own(client))
        verb = self._draw.choice(self._VERBS)
        self._post(f"jobs/{job.id}", verb)
        self.acts += 1
        self._say(f"operator: {verb} {job.name}")

    def _steer_node(self) -> None:
        node, verb = self._draw.choice(self._nodes), self._draw.choice(self._NODE_VERBS)
        self._post(f"nodes/{node}", verb)
        self.acts += 1
        self._say(f"operator: {verb} {node}")

    def _post(self, subject: str, verb: str) -> None:
        """Raises Unavailable where the farm does not answer, Conflict where it refuses."""
        settings = self._target.settings()
        assert settings.keys.operator is not None
        headers = {"authorization": f"Bearer {settings.keys.operator.get_secret_value()}"}
        body = {"priority": self._draw.randrange(100)} if verb == "priority" else None
        url = f"{settings.api_url}/v1/{subject}/{verb}"
        try:
            answer = httpx.post(url, json=body, headers=headers, timeout=20, trust_env=False)
        except httpx.HTTPError as error:
            raise Unavailable(f"{verb}: {error or type(error).__name__}") from None
        if answer.is_error:
            raise Conflict(f"{verb}: {answer.text}")

    def _runs_dry(self) -> bool:
        waiting = self._target.rows("SELECT count(*) AS shots FROM shots WHERE state = 'waiting'")
        return bool(waiting[0]["shots"] < SHOTS_A_JOB)


def _own(client: FarmClient) -> list[JobSummary]:
    """The jobs of people, the newest first: not those by which the farm verifies images."""
    return [job for job in client.jobs() if job.owner != PAYER]

"""Finds a job by its ID, the beginning of its ID or its name, and a node by its name."""

from __future__ import annotations

import re
from contextlib import suppress

from common.errors import Invalid, NotFound
from common.views import JobSummary, NodeView
from common.wording import nearest
from coordinator.client import FarmClient

_ENDED = ("done", "withheld", "failed", "cancelled")
_ID = re.compile("j-[0-9a-f]{8}")


def the_job(client: FarmClient, word: str) -> JobSummary:
    """Returns the job with this ID, this name, or this beginning of an ID: of jobs with the same name the one
    that has not ended, else the newest.

    Raises NotFound with the nearest known name, or Invalid if several jobs match.
    """
    if _ID.fullmatch(word):
        with suppress(NotFound):  # it may be a name
            return client.job(word)
    meant, jobs = _named(client.jobs(name=word)), []
    if not meant:
        # Only for the beginning of an ID, and to say which name is near, are all jobs listed.
        jobs = client.jobs()
        meant = [job for job in jobs if job.id.removeprefix("j-").startswith(word.removeprefix("j-"))]
    if len(meant) == 1:
        return meant[0]
    if meant:
        ids = ", ".join(job.id for job in meant[:3])
        more = ", …" if len(meant) > 3 else ""
        raise Invalid(f"{len(meant)} jobs match {word} ({ids}{more}): give the ID of one")
    known = [name for job in jobs for name in (job.id, job.name)]
    raise NotFound(_unknown("job", word, known, "`farm jobs` lists them"))


def _named(jobs: list[JobSummary]) -> list[JobSummary]:
    """Those of jobs with one name, the newest first, that the name means."""
    return [job for job in jobs if job.status not in _ENDED] or jobs[:1]


def the_node(client: FarmClient, word: str) -> NodeView:
    """Returns the node with this name. Raises NotFound with the nearest known name."""
    nodes = {node.name: node for node in client.nodes()}
    if word not in nodes:
        raise NotFound(_unknown("node", word, list(nodes), "`farm nodes` lists them"))
    return nodes[word]


def _unknown(noun: str, word: str, known: list[str], remedy: str) -> str:
    near = nearest(word, known)
    return f"no {noun} {word}: did you mean `{near}`? {remedy}" if near else f"no {noun} {word}; {remedy}"

"""Why shots wait: which node takes them next, or why no node can and what would change that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from common.states import NodeState
from common.units import counted, format_seconds
from coordinator.explain.facts import CandidateNode, JobFacts, Waiting
from coordinator.explain.wording import Answer, listed, out_of_service, spent


def why_waiting(waiting: Waiting) -> Answer:
    """A clause to follow "waits:"; the first obstacle in the order in which a claim checks them."""
    return _held_by_job(waiting.job) or _without_node(waiting) or _among(waiting, _takers(waiting))


def budget_remedy(job: JobFacts) -> str:
    return f"submit the manifest of {job.id} again with a higher limits.max_cost (stored images are reused)"


def _held_by_job(job: JobFacts) -> Answer | None:
    if not job.whole:
        return Answer(f"job {job.id} is still being submitted", goes_on=True)
    if job.intent == "cancelled":
        return Answer(f"job {job.id} is cancelled", f"`farm requeue {job.id}` continues it")
    if job.budget is not None and job.budget.cost >= job.budget.limit:
        return Answer(f"job {job.id} {spent(job.budget)}", budget_remedy(job))
    if job.intent == "paused":
        because = f" automatically: {job.reason}" if job.reason else " by the operator"
        return Answer(f"job {job.id} is paused{because}", f"`farm resume {job.id}`")
    return None


def _takers(waiting: Waiting) -> list[CandidateNode]:
    """Nodes in service that can take the shots."""
    return [one for one in waiting.candidates if not one.lack and one.node.in_service]


def _without_node(waiting: Waiting) -> Answer | None:
    """Why no node in service can take the shots; None if one can."""
    lane = waiting.job.lane
    if not waiting.candidates:
        card = f" on a card with {waiting.vram_class} GB or more" if waiting.vram_class else ""
        return Answer(f"no node serves lane {lane}", f"start one with `farm-node run --lane {lane}`{card}")
    able = [one for one in waiting.candidates if not one.lack]
    if not able:
        return _beyond_all(waiting)
    if not _takers(waiting):
        states = [out_of_service(one.node) for one in able]
        away = "; ".join(answer.sentence for answer in states[:3])
        more = f"; and {len(states) - 3} more" if len(states) > 3 else ""
        others = len(waiting.candidates) - len(able)
        only = f"; {counted(others, 'other node')} cannot render this" if others else ""
        return Answer(f"no node that can render this is in service: {away}{more}{only}", states[0].remedy)
    return None


def _beyond_all(waiting: Waiting) -> Answer:
    by_lack: dict[str, list[str]] = {}
    for one in waiting.candidates:
        by_lack.setdefault(one.lack, []).append(one.node.name)
    lacks = "; ".join(f"{listed(names)}: {lack}" for lack, names in by_lack.items())
    size = f"{waiting.vram_class} GB or more" if waiting.vram_class else "enough memory"
    return Answer(
        f"no node in lane {waiting.job.lane} can render {waiting.needs} ({lacks})",
        f"install what one of them lacks, or add a node with {size} that has {waiting.needs}",
    )


def _among(waiting: Waiting, takers: Sequence[CandidateNode]) -> Answer:
    job = waiting.job
    affordable = [one for one in takers if not one.over_budget]
    if not affordable and job.budget is not None:
        return Answer(
            f"job {job.id} {spent(job.budget)}: too little is left for another image",
            f"wait for the running work, which may cost less than reserved, or {budget_remedy(job)}",
            goes_on=job.budget.reserved > 0,
        )
    if waiting.failed_rest_s is not None:
        wait = format_seconds(waiting.failed_rest_s)
        where = f"on another node, or on the same node within {wait} if there is no other"
        return Answer(f"this failed and will be retried {where}", goes_on=True)
    fresh = [one for one in affordable or takers if not one.failed]
    rested = fresh or [one for one in affordable or takers if one.rest_s <= 0]
    if not rested:
        one = min(affordable or takers, key=lambda one: one.rest_s)
        wait = format_seconds(one.rest_s)
        return Answer(f"this failed on node {one.node.name}, which will retry it in {wait}", goes_on=True)
    return _in_turn(waiting, rested)


def _in_turn(waiting: Waiting, takers: Iterable[CandidateNode]) -> Answer:
    """Which node takes the shots, or what the node that could take them soonest does first."""
    one = min(takers, key=lambda taker: _distance(waiting, taker))
    name, first = one.node.name, one.first
    if one.late:
        return Answer("faster nodes take this after their current batches", goes_on=True)
    when = "next" if one.node.state is not NodeState.BUSY else "after its current batch"
    if first is not None and first.job_id != waiting.job.id:
        which = f"job {first.job_id}" if first.job_id else "a job of another owner"
        return Answer(
            f"{which} comes first on node {name}: {_ahead(waiting, one)}",
            f"`farm priority {waiting.job.id} {min(first.priority + 1, 100)}` moves this job ahead",
            goes_on=True,
        )
    if waiting.crashes:
        times = f" {waiting.crashes} times" if waiting.crashes > 1 else ""
        crashed = f"the engine, a node or ingest crashed{times} while processing this"
        alone = f"so node {name} renders it alone, after all others of its kind"
        return Answer(f"{crashed}, {alone}", goes_on=True)
    if first is not None and first.lot != waiting.lot:
        return Answer(f"node {name} takes other shots of the same job {when}, and then this", goes_on=True)
    return Answer(f"node {name} takes this {when}", goes_on=True)


def _distance(waiting: Waiting, taker: CandidateNode) -> tuple[bool, bool, bool, bool, str]:
    first = taker.first
    return (
        taker.late,
        first is not None and first.job_id != waiting.job.id,
        first is None or first.lot != waiting.lot,
        taker.node.state is NodeState.BUSY,
        taker.node.name,
    )


def _ahead(waiting: Waiting, taker: CandidateNode) -> str:
    assert taker.first is not None
    if taker.first.priority > waiting.job.priority:
        return f"it has priority {taker.first.priority}, this job {waiting.job.priority}"
    if taker.first.loaded:
        return "its model is already loaded there, and jobs take turns"
    if taker.first.owner != waiting.job.owner:
        return f"{taker.first.owner} recently received less work than {waiting.job.owner}"
    return "it has received less work so far, or was submitted earlier"

"""Why shots wait: who takes them next, or what keeps them from every node and what would change that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from common.states import NodeState
from common.units import counted, format_seconds
from coordinator.explain.facts import Candidate, JobFacts, Waiting
from coordinator.explain.wording import Answer, listed, out_of_service, spent


def why_waiting(waiting: Waiting) -> Answer:
    """One clause that fits behind "waits:"; the first hindrance in the order in which a claim meets them."""
    return _held_by_job(waiting.job) or _without_node(waiting) or _among(waiting, _takers(waiting))


def budget_remedy(job: JobFacts) -> str:
    return f"submit the manifest of {job.id} again with a higher limits.max_cost; what is stored is reused"


def _held_by_job(job: JobFacts) -> Answer | None:
    if not job.whole:
        return Answer(f"job {job.id} is still being submitted", goes_on=True)
    if job.intent == "cancelled":
        return Answer(f"job {job.id} is cancelled", f"`farm requeue {job.id}` goes on with what was left")
    if job.budget is not None and job.budget.cost >= job.budget.limit:
        return Answer(f"job {job.id} {spent(job.budget)}", budget_remedy(job))
    if job.intent == "paused":
        because = f" by itself: {job.reason}" if job.reason else " by the operator"
        return Answer(f"job {job.id} is paused{because}", f"`farm resume {job.id}`")
    return None


def _takers(waiting: Waiting) -> list[Candidate]:
    """Nodes in service that can take them."""
    return [one for one in waiting.candidates if not one.lack and one.node.in_service]


def _without_node(waiting: Waiting) -> Answer | None:
    """Where no node in service can take them."""
    lane = waiting.job.lane
    if not waiting.candidates:
        card = f" on a card of {waiting.vram_class} GB or more" if waiting.vram_class else ""
        return Answer(f"no node serves lane {lane}", f"start one for it: `farm-node run --lane {lane}`{card}")
    able = [one for one in waiting.candidates if not one.lack]
    if not able:
        return _beyond_all(waiting)
    if not _takers(waiting):
        states = [out_of_service(one.node) for one in able]
        away = "; ".join(answer.sentence for answer in states[:3])
        more = f"; and {len(states) - 3} more" if len(states) > 3 else ""
        others = len(waiting.candidates) - len(able)
        only = f"; {counted(others, 'other node')} cannot take this" if others else ""
        return Answer(f"no node that can take this is in service: {away}{more}{only}", states[0].remedy)
    return None


def _beyond_all(waiting: Waiting) -> Answer:
    by_lack: dict[str, list[str]] = {}
    for one in waiting.candidates:
        by_lack.setdefault(one.lack, []).append(one.node.name)
    lacks = "; ".join(f"{listed(names)}: {lack}" for lack, names in by_lack.items())
    size = f"{waiting.vram_class} GB or more" if waiting.vram_class else "enough memory"
    return Answer(
        f"no node of lane {waiting.job.lane} can render {waiting.needs} ({lacks})",
        f"give one of them what it lacks, or join a node of {size} that has {waiting.needs}",
    )


def _among(waiting: Waiting, takers: Sequence[Candidate]) -> Answer:
    job = waiting.job
    affordable = [one for one in takers if not one.over_budget]
    if not affordable and job.budget is not None:
        return Answer(
            f"job {job.id} {spent(job.budget)}: there is no room for another image",
            f"wait for what is in hand, which may cost less; or {budget_remedy(job)}",
            goes_on=job.budget.reserved > 0,
        )
    if waiting.failed_rest_s is not None:
        wait = format_seconds(waiting.failed_rest_s)
        where = f"on another node or, where there is none, there within {wait}"
        return Answer(f"this failed, and is tried again {where}", goes_on=True)
    fresh = [one for one in affordable or takers if not one.failed]
    rested = fresh or [one for one in affordable or takers if one.rest_s <= 0]
    if not rested:
        one = min(affordable or takers, key=lambda one: one.rest_s)
        wait = format_seconds(one.rest_s)
        return Answer(f"this failed on node {one.node.name}, which tries again in {wait}", goes_on=True)
    return _in_turn(waiting, rested)


def _in_turn(waiting: Waiting, takers: Iterable[Candidate]) -> Answer:
    """Who takes them, or what comes first on the node that is nearest to it."""
    one = min(takers, key=lambda taker: _distance(waiting, taker))
    name, first = one.node.name, one.first
    when = "next" if one.node.state is not NodeState.BUSY else "when its batch is over"
    if first is not None and first.job_id != waiting.job.id:
        return Answer(
            f"job {first.job_id} comes first on node {name}: {_ahead(waiting, one)}",
            f"`farm priority {waiting.job.id} {min(first.priority + 1, 100)}` lets it go first",
            goes_on=True,
        )
    if waiting.crashes:
        died = (
            f"an engine, a node or ingest died with this {waiting.crashes} times"
            if waiting.crashes > 1
            else ("an engine, a node or ingest died with this")
        )
        return Answer(f"{died}, so node {name} renders it alone, after all others of its kind", goes_on=True)
    if first is not None and first.lot != waiting.lot:
        return Answer(f"node {name} takes other shots of the same job {when}, then this", goes_on=True)
    return Answer(f"node {name} takes this {when}", goes_on=True)


def _distance(waiting: Waiting, taker: Candidate) -> tuple[bool, bool, bool, str]:
    first = taker.first
    return (
        first is not None and first.job_id != waiting.job.id,
        first is None or first.lot != waiting.lot,
        taker.node.state is NodeState.BUSY,
        taker.node.name,
    )


def _ahead(waiting: Waiting, taker: Candidate) -> str:
    assert taker.first is not None
    if taker.first.priority > waiting.job.priority:
        return f"its priority is {taker.first.priority}, here it is {waiting.job.priority}"
    if taker.first.loaded:
        return "its model is loaded there, and jobs take turns"
    if taker.first.owner != waiting.job.owner:
        return f"{taker.first.owner} got less work lately than {waiting.job.owner}"
    return "it got less work so far, or came earlier"

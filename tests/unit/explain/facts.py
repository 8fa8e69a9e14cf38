"""Facts to explain, and hypothesis strategies for them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from common.states import IN_SERVICE, NodeState, ShotState
from coordinator.explain.facts import Budget, CandidateNode, First, JobFacts, NodeFacts, ShotSubject, Waiting

SHOT = "3f" * 32


def node(name: str = "small", state: NodeState = NodeState.READY, **facts: Any) -> NodeFacts:
    return NodeFacts(name=name, state=state, in_service=state in IN_SERVICE, **facts)


def job(**facts: Any) -> JobFacts:
    return JobFacts(**{"id": "j-1", "name": "mugs", "owner": "ana", "lane": "public", "priority": 50} | facts)


def first(job_id: str = "j-1", group: str = "g", priority: int = 50, owner: str = "ana") -> First:
    return First(owner, priority, (job_id, group, 1.0), loaded=False)


def waiting(*candidates: CandidateNode, **facts: Any) -> Waiting:
    given_: dict[str, Any] = {"job": job(), "lot": ("j-1", "g", 1.0), "needs": "model sdxl", "vram_class": 8}
    return Waiting(candidates=candidates, **given_ | facts)


def shot(state: ShotState = ShotState.WAITING, **facts: Any) -> ShotSubject:
    return ShotSubject(**{"id": SHOT, "name": "mug/red-0", "state": state, "jobs": ("j-1",)} | facts)


names = st.sampled_from(["small", "large", "attic"])
states = st.sampled_from(NodeState)
firsts = st.none() | st.builds(
    First,
    st.sampled_from(["ana", "ben"]),
    st.integers(50, 100),
    st.tuples(st.sampled_from(["j-1", "j-2"]), st.sampled_from(["g", "h"]), st.sampled_from([1.0, 2.0])),
    st.booleans(),
)
candidates = st.builds(
    lambda name, state, owners, **facts: CandidateNode(node=node(name, state, by_owner=owners), **facts),
    name=names,
    state=states,
    owners=st.booleans(),
    lack=st.sampled_from(["", "", "model sdxl is not on this node"]),
    over_budget=st.booleans(),
    failed=st.booleans(),
    rest_s=st.sampled_from([0.0, 12.0]),
    first=firsts,
)
budgets = st.none() | st.builds(
    Budget, limit=st.just(1.0), cost=st.floats(0, 2), reserved=st.floats(0, 1), currency=st.just("EUR")
)
jobs = st.builds(
    job,
    intent=st.sampled_from(["active", "active", "paused", "cancelled"]),
    whole=st.sampled_from([True, True, False]),
    reason=st.sampled_from(["", "5 of 40 shots failed"]),
    budget=budgets,
)
waits = st.builds(
    lambda job, candidates, crashes: waiting(*candidates, job=job, crashes=crashes),
    jobs,
    st.lists(candidates, max_size=4),
    st.integers(0, 2),
)

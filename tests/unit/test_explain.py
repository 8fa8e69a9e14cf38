"""Explanations: every shot that waits is schedulable by a named node, or blocked by something named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.states import IN_SERVICE, NodeState, ShotState
from common.views import FailureView
from coordinator.explain import (
    Budget,
    Candidate,
    First,
    Hand,
    JobFacts,
    JobSubject,
    LaneWork,
    NodeFacts,
    NodeSubject,
    Refusal,
    ShotSubject,
    Waiting,
    explain_job,
    explain_node,
    explain_shot,
)
from coordinator.explain.waiting import why_waiting

SHOT = "3f" * 32


def node(name: str = "small", state: NodeState = NodeState.READY, **facts: Any) -> NodeFacts:
    return NodeFacts(name=name, state=state, in_service=state in IN_SERVICE, **facts)


def job(**facts: Any) -> JobFacts:
    return JobFacts(**{"id": "j-1", "name": "mugs", "owner": "ana", "lane": "public", "priority": 50} | facts)


def first(job_id: str = "j-1", group: str = "g", priority: int = 50, owner: str = "ana") -> First:
    return First(job_id, owner, priority, group, loaded=False)


def waiting(*candidates: Candidate, **facts: Any) -> Waiting:
    given_: dict[str, Any] = {"job": job(), "group_key": "g", "needs": "model sdxl", "vram_class": 8}
    return Waiting(candidates=candidates, **given_ | facts)


def shot(state: ShotState = ShotState.WAITING, **facts: Any) -> ShotSubject:
    return ShotSubject(**{"id": SHOT, "name": "mug/red-0", "state": state, "jobs": ("j-1",)} | facts)


names = st.sampled_from(["small", "large", "attic"])
states = st.sampled_from(NodeState)
firsts = st.none() | st.builds(
    First,
    st.sampled_from(["j-1", "j-2"]),
    st.sampled_from(["ana", "ben"]),
    st.integers(50, 100),
    st.sampled_from(["g", "h"]),
    st.booleans(),
)
candidates = st.builds(
    lambda name, state, owners, **facts: Candidate(node=node(name, state, owners_pause=owners), **facts),
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


@given(waits)
def test_what_waits_is_schedulable_by_a_named_node_or_blocked_by_something_named(one: Waiting) -> None:
    answer = why_waiting(one)
    in_service = {c.node.name for c in one.candidates if c.node.in_service and not c.lack}
    says_node = any(f"node {name}" in answer.sentence for name in in_service)
    assert says_node or answer.remedy or not one.job.whole
    assert answer.goes_on or answer.remedy


@given(waits)
def test_a_lone_job_with_a_free_able_node_is_taken_by_it(one: Waiting) -> None:
    free = Candidate(node=node("free"), first=first())
    lone = waiting(*one.candidates, free, crashes=one.crashes)
    assert why_waiting(lone).goes_on
    assert "node free" in why_waiting(waiting(free)).sentence


@given(st.lists(waits, max_size=3), st.sampled_from(list(ShotState)), st.integers(0, 3))
def test_every_shot_has_a_sentence_that_names_it(
    several: list[Waiting], state: ShotState, tries: int
) -> None:
    said = explain_shot(shot(state, waits=tuple(several), attempts=tries, reason="all black"))
    assert said.sentences[0].startswith("shot 3f3f3f3f3f3f (mug/red-0) ")
    assert all(sentence.endswith(".") for sentence in said.sentences)


@given(st.lists(st.tuples(waits, st.integers(1, 9)), max_size=5))
def test_a_jobs_groups_of_waiting_shots_add_up(several: list[tuple[Waiting, int]]) -> None:
    total = sum(images for _, images in several)
    subject = JobSubject(
        job=job(), status="running", images=total, counts={"waiting": total}, waits=tuple(several)
    )
    groups = [s for s in explain_job(subject).sentences if " wait: " in s or " waits: " in s]
    assert sum(int(sentence.split()[0]) for sentence in groups) == total
    assert len(set(groups)) == len(groups)


@pytest.mark.parametrize(
    ("one", "sentence", "remedy"),
    [
        (waiting(), "no node serves lane public", "`farm-node run --lane public`"),
        (waiting(job=job(intent="paused")), "paused by the operator", "`farm resume j-1`"),
        (waiting(job=job(intent="paused", reason="5 failed")), "paused by itself: 5", "`farm resume j-1`"),
        (
            waiting(Candidate(node=node(), lack="model sdxl is not on this node")),
            r"no node of lane public can render model sdxl (small: model sdxl is not on this node)",
            "join a node of 8 GB or more that has model sdxl",
        ),
        (
            waiting(Candidate(node=node(state=NodeState.PAUSED))),
            "no node that can take this is in service: node small is paused",
            "`farm node resume small`",
        ),
        (
            waiting(Candidate(node=node(state=NodeState.PAUSED, owners_pause=True))),
            "node small is paused by its owner",
            "`farm-node resume`",
        ),
        (
            waiting(Candidate(node=node(state=NodeState.QUARANTINED, reason="3 failures"))),
            "node small is quarantined: 3 failures",
            "`farm node forgive small`",
        ),
        (
            waiting(Candidate(node=node(state=NodeState.LOST))),
            "node small is lost",
            "`farm-node run` starts it again",
        ),
        (
            waiting(
                Candidate(node=node(), over_budget=True),
                job=job(budget=Budget(limit=2, cost=1.5, reserved=0.5, currency="EUR")),
            ),
            "has cost 1.50 EUR of at most 2.00 EUR, and 0.500 EUR more is in hand: there is no room",
            "higher limits.max_cost",
        ),
        (
            waiting(job=job(budget=Budget(limit=2, cost=2.5, reserved=0, currency="EUR"), intent="paused")),
            "has cost 2.50 EUR of at most 2.00 EUR, 0.500 EUR too much",
            "higher limits.max_cost",
        ),
        (
            waiting(Candidate(node=node(), first=first("j-2", priority=80))),
            "job j-2 comes first on node small: its priority is 80, here it is 50",
            "`farm priority j-1 81`",
        ),
        (
            waiting(Candidate(node=node(), first=first("j-2"))),
            "job j-2 comes first on node small: it got less work so far",
            "`farm priority j-1 51`",
        ),
        (
            waiting(Candidate(node=node(), first=first("j-2", owner="ben"))),
            "job j-2 comes first on node small: ben got less work lately than ana",
            "`farm priority j-1 51`",
        ),
        (waiting(Candidate(node=node(), first=first())), "node small takes this next", ""),
        (
            waiting(Candidate(node=node(state=NodeState.BUSY), first=first())),
            "node small takes this when its batch is over",
            "",
        ),
        (
            waiting(Candidate(node=node(), first=first(), failed=True, rest_s=12)),
            "this failed on node small, which tries again in 12 s",
            "",
        ),
        (
            waiting(Candidate(node=node(), first=first()), crashes=1),
            "an engine, a node or ingest died with this, so node small renders it alone",
            "",
        ),
    ],
)
def test_the_first_hindrance_is_said_with_its_remedy(one: Waiting, sentence: str, remedy: str) -> None:
    answer = why_waiting(one)
    assert sentence in answer.sentence
    assert remedy in answer.remedy
    assert bool(answer.remedy) == bool(remedy)


def test_a_fresh_node_takes_what_failed_on_another() -> None:
    tired = Candidate(node=node(), first=first(), failed=True, rest_s=12)
    fresh = Candidate(node=node("large"), first=first())
    assert "node large takes this next" in why_waiting(waiting(tired, fresh)).sentence


def test_a_shot_goes_on_by_the_job_that_may() -> None:
    paused = waiting(job=job(id="j-2", intent="paused"))
    said = explain_shot(shot(waits=(paused, waiting(Candidate(node=node(), first=first())))))
    assert said.sentences[0] == "shot 3f3f3f3f3f3f (mug/red-0) waits: node small takes this next."
    assert said.sentences[1] == "Job j-2 is paused by the operator."
    assert said.remedy == ""


def test_a_failed_shot_says_where_why_and_what_to_do() -> None:
    said = explain_shot(shot(ShotState.FAILED, reason="all black", failed_on=("small", "large")))
    assert "failed on small, large: all black" in said.sentences[0]
    assert "`farm retry j-1`" in said.remedy
    assert "`farm accept 3f3f3f3f3f3f`" in said.remedy


def test_a_running_shot_says_where() -> None:
    hand = Hand(node="small", batch_id="b-1", job_id="j-1", shots=4, since_s=12)
    said = explain_shot(shot(ShotState.RUNNING, hand=hand))
    assert "is rendered now on node small, in batch b-1, for 12 s so far" in said.sentences[0]


def test_a_job_at_its_budget_says_cost_limit_overshoot_and_what_is_undone() -> None:
    budget = Budget(limit=1, cost=1.25, reserved=0, currency="EUR")
    stopped = job(intent="paused", reason="its budget is spent", budget=budget)
    subject = JobSubject(
        job=stopped, status="paused", images=9, counts={"done": 4, "waiting": 5},
        waits=((waiting(job=stopped), 5),),
    )  # fmt: skip
    said = explain_job(subject)
    assert "It has cost 1.25 EUR of at most 1.00 EUR, 0.250 EUR too much; 5 images undone." in said.sentences
    assert "higher limits.max_cost" in said.remedy


def test_a_job_with_failures_says_how_many_of_each_kind() -> None:
    failures = (
        FailureView(kind="flat_image", message="all black", shots=2),
        FailureView(
            state="unschedulable", kind="fits_nothing", message="needs 40 GiB; 1024×1024 fits", shots=1
        ),
    )
    counts = {"done": 1, "failed": 2, "unschedulable": 1}
    subject = JobSubject(job=job(), status="failed", images=4, counts=counts, failures=failures)
    said = explain_job(subject).sentences
    assert "2 shots failed: all black." in said
    assert "1 shot fits no node: needs 40 GiB; 1024×1024 fits." in said


def test_a_job_says_each_reason_why_its_shots_wait_once_and_a_few_of_many() -> None:
    def lacking(needs: str, vram_class: int) -> Waiting:
        lack = Candidate(node=node(), lack="LoRA ink is not on this node")
        return waiting(lack, needs=needs, vram_class=vram_class)

    mine = waiting(Candidate(node=node(), first=first()))
    several = [(mine, 90), (lacking("model a", 8), 5), (lacking("model a", 24), 2)]
    several += [(lacking(f"model {name}", 8), 2) for name in "bcd"]
    subject = JobSubject(
        job=job(), status="running", images=103, counts={"waiting": 103}, waits=tuple(several)
    )
    said = explain_job(subject)
    groups = [sentence for sentence in said.sentences if " wait: " in sentence]
    assert "7 shots wait: no node of lane public can render model a (small: LoRA ink" in groups[0]
    assert [group.split()[0] for group in groups] == ["7", "2", "2", "92"]
    assert groups[3] == "92 shots wait: 2 more reasons."
    assert "join a node of 24 GB or more that has model a" in said.remedy


def test_an_idle_node_says_what_keeps_each_lane_from_it_and_what_to_put_there() -> None:
    refused = Refusal("model sdxl is not on this node", 40, "put the files of model sdxl there")
    lanes = (LaneWork(lane="public", first=None, refusals=(refused,)),)
    said = explain_node(NodeSubject(node=node(), vram_class=8, lanes=lanes, other_lanes={"studio": 7}))
    assert "It cannot take 40 images of lane public: model sdxl is not on this node." in said.sentences
    assert "7 images wait in lane studio, which it does not serve." in said.sentences
    assert said.remedy == "put the files of model sdxl there"


def test_a_node_with_work_needs_no_remedy() -> None:
    refused = Refusal("model sdxl is not on this node", 40, "put the files of model sdxl there")
    lanes = (LaneWork(lane="public", first=first(), images=12, refusals=(refused,)),)
    said = explain_node(NodeSubject(node=node(), vram_class=8, lanes=lanes))
    assert "Next it takes 12 shots of job j-1 (lane public)." in said.sentences
    assert said.remedy == ""


def test_a_node_of_another_version_says_what_to_install() -> None:
    said = explain_node(NodeSubject(node=node(), vram_class=8, version="0.2.0", farm_version="0.1.0"))
    assert said.remedy == "install shotfarm==0.1.0 on small"


@given(states, st.booleans(), st.booleans())
def test_a_node_out_of_service_says_so_and_what_brings_it_back(
    state: NodeState, owners: bool, reason: bool
) -> None:
    said = explain_node(
        NodeSubject(node=node(state=state, owners_pause=owners, reason="hot" * reason), vram_class=8)
    )
    assert "ode small" in said.sentences[0]
    assert said.remedy or state in IN_SERVICE

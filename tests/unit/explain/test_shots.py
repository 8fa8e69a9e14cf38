"""Shots: each that waits is schedulable by a named node, or blocked by something named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.states import NodeState, ShotState
from coordinator.explain.facts import Budget, CandidateNode, Hand, ShotSubject, Waiting
from coordinator.explain.shots import explain_shot
from coordinator.explain.waiting import why_waiting
from tests.unit.explain.facts import first, job, node, shot, waiting, waits


@given(waits)
def test_what_waits_is_schedulable_by_a_named_node_or_blocked_by_something_named(one: Waiting) -> None:
    answer = why_waiting(one)
    in_service = {c.node.name for c in one.candidates if c.node.in_service and not c.lack}
    says_node = any(f"node {name}" in answer.sentence for name in in_service)
    assert says_node or answer.remedy or not one.job.whole
    assert answer.goes_on or answer.remedy


@given(waits)
def test_a_lone_job_with_a_free_able_node_is_taken_by_it(one: Waiting) -> None:
    free = CandidateNode(node=node("free"), first=first())
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


@pytest.mark.parametrize(
    ("one", "sentence", "remedy"),
    [
        (waiting(), "no node serves lane public", "`farm-node run --lane public`"),
        (waiting(job=job(intent="paused")), "paused by the operator", "`farm resume j-1`"),
        (
            waiting(job=job(intent="paused", reason="5 failed")),
            "paused automatically: 5",
            "`farm resume j-1`",
        ),
        (
            waiting(CandidateNode(node=node(), lack="model sdxl is not on this node")),
            r"no node in lane public can render model sdxl (small: model sdxl is not on this node)",
            "add a node with 8 GB or more that has model sdxl",
        ),
        (
            waiting(CandidateNode(node=node(state=NodeState.PAUSED))),
            "no node that can render this is in service: node small is paused",
            "`farm node resume small`",
        ),
        (
            waiting(CandidateNode(node=node(state=NodeState.PAUSED, by_owner=True))),
            "node small is paused by its owner",
            "`farm-node resume`",
        ),
        (
            waiting(CandidateNode(node=node(state=NodeState.QUARANTINED, reason="3 failures"))),
            "node small is quarantined: 3 failures",
            "`farm node forgive small`",
        ),
        (
            waiting(CandidateNode(node=node(state=NodeState.LOST))),
            "node small is lost",
            "`farm-node run` restarts it",
        ),
        (
            waiting(
                CandidateNode(node=node(), over_budget=True),
                job=job(budget=Budget(limit=2, cost=1.5, reserved=0.5, currency="EUR")),
            ),
            "has spent 1.50 EUR of its 2.00 EUR limit, with 0.500 EUR reserved for running work: too little",
            "higher limits.max_cost",
        ),
        (
            waiting(job=job(budget=Budget(limit=2, cost=2.5, reserved=0, currency="EUR"), intent="paused")),
            "has spent 2.50 EUR of its 2.00 EUR limit, 0.500 EUR over",
            "higher limits.max_cost",
        ),
        (
            waiting(CandidateNode(node=node(), first=first("j-2", priority=80))),
            "job j-2 comes first on node small: it has priority 80, this job 50",
            "`farm priority j-1 81`",
        ),
        (
            waiting(CandidateNode(node=node(), first=first("j-2"))),
            "job j-2 comes first on node small: it has received less work so far",
            "`farm priority j-1 51`",
        ),
        (
            waiting(CandidateNode(node=node(), first=first("j-2", owner="ben"))),
            "job j-2 comes first on node small: ben recently received less work than ana",
            "`farm priority j-1 51`",
        ),
        (waiting(CandidateNode(node=node(), first=first())), "node small takes this next", ""),
        # A fresh node takes what failed on another.
        (
            waiting(
                CandidateNode(node=node(), first=first(), failed=True, rest_s=12),
                CandidateNode(node=node("large"), first=first()),
            ),
            "node large takes this next",
            "",
        ),
        (
            waiting(CandidateNode(node=node(state=NodeState.BUSY), first=first())),
            "node small takes this after its current batch",
            "",
        ),
        (
            waiting(CandidateNode(node=node(), first=first(), failed=True, rest_s=12)),
            "this failed on node small, which will retry it in 12 s",
            "",
        ),
        (
            waiting(CandidateNode(node=node(), first=first()), crashes=1),
            "the engine, a node or ingest crashed while processing this, so node small renders it alone",
            "",
        ),
    ],
)
def test_the_first_hindrance_is_said_with_its_remedy(one: Waiting, sentence: str, remedy: str) -> None:
    answer = why_waiting(one)
    assert sentence in answer.sentence
    assert remedy in answer.remedy
    assert bool(answer.remedy) == bool(remedy)


@pytest.mark.parametrize(
    ("one", "sentences", "remedies"),
    [
        # It goes on by the job that may.
        (
            shot(
                waits=(
                    waiting(job=job(id="j-2", intent="paused")),
                    waiting(CandidateNode(node=node(), first=first())),
                )
            ),
            [
                "shot 3f3f3f3f3f3f (mug/red-0) waits: node small takes this next.",
                "Job j-2 is paused by the operator.",
            ],
            [],
        ),
        (
            shot(ShotState.FAILED, reason="all black", failed_on=("small", "large")),
            ["failed on small, large: all black"],
            ["`farm retry j-1`", "`farm accept 3f3f3f3f3f3f`"],
        ),
        (
            shot(
                ShotState.RUNNING,
                hand=Hand(node="small", batch_id="b-1", job_id="j-1", shots=4, since_s=12),
            ),
            ["is being rendered on node small, in batch b-1, for 12 s so far"],
            [],
        ),
        (
            shot(
                ShotState.RUNNING,
                hand=Hand(node="large", batch_id="b-2", job_id="j-1", shots=1, since_s=2, duplicates="b-1"),
            ),
            [
                "is being rendered on node large, in batch b-2, for 2.0 s so far, as a duplicate of a part "
                "of batch b-1, whose node is slower"
            ],
            [],
        ),
    ],
)
def test_a_shot_says_where_it_is_why_and_what_to_do(
    one: ShotSubject, sentences: list[str], remedies: list[str]
) -> None:
    said = explain_shot(one)
    assert [each for each, told in zip(sentences, said.sentences, strict=False) if each not in told] == []
    assert [each for each in remedies if each not in said.remedy] == []
    assert bool(said.remedy) == bool(remedies)

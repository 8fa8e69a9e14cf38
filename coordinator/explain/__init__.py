"""Why a job, a shot or a node stands as it does: facts in, sentences out; pure."""

from coordinator.explain.facts import (
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
)
from coordinator.explain.jobs import explain_job
from coordinator.explain.nodes import explain_node
from coordinator.explain.shots import explain_shot

__all__ = [
    "Budget",
    "Candidate",
    "First",
    "Hand",
    "JobFacts",
    "JobSubject",
    "LaneWork",
    "NodeFacts",
    "NodeSubject",
    "Refusal",
    "ShotSubject",
    "Waiting",
    "explain_job",
    "explain_node",
    "explain_shot",
]

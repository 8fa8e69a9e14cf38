"""Explains the current state of a job, shot or node: a pure function from facts to sentences."""

from coordinator.explain.facts import (
    Budget,
    CandidateNode,
    Check,
    First,
    Hand,
    ImageOrigin,
    JobFacts,
    JobSubject,
    LaneWork,
    NodeFacts,
    NodeRefusal,
    NodeSubject,
    ShotSubject,
    Waiting,
)
from coordinator.explain.jobs import UNDONE, explain_job
from coordinator.explain.nodes import explain_node
from coordinator.explain.shots import explain_shot
from coordinator.explain.wording import SHORT

__all__ = [
    "SHORT",
    "UNDONE",
    "Budget",
    "CandidateNode",
    "Check",
    "First",
    "Hand",
    "ImageOrigin",
    "JobFacts",
    "JobSubject",
    "LaneWork",
    "NodeFacts",
    "NodeRefusal",
    "NodeSubject",
    "ShotSubject",
    "Waiting",
    "explain_job",
    "explain_node",
    "explain_shot",
]

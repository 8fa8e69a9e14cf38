"""Jobs: what is left of one, and why."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.views import FailureView
from coordinator.explain.facts import Budget, CandidateNode, JobSubject, Waiting
from coordinator.explain.jobs import explain_job
from tests.unit.explain.facts import first, job, node, waiting, waits


@given(st.lists(st.tuples(waits, st.integers(1, 9)), max_size=5))
def test_a_jobs_groups_of_waiting_shots_add_up(several: list[tuple[Waiting, int]]) -> None:
    total = sum(images for _, images in several)
    subject = JobSubject(
        job=job(), status="running", images=total, counts={"waiting": total}, waits=tuple(several)
    )
    groups = [s for s in explain_job(subject).sentences if " wait: " in s or " waits: " in s]
    assert sum(int(sentence.split()[0]) for sentence in groups) == total
    assert len(set(groups)) == len(groups)


def test_a_job_is_named_with_its_owner() -> None:
    subject = JobSubject(job=job(), status="running", images=4, counts={"done": 1, "running": 3})
    assert explain_job(subject).sentences[0] == "Job j-1 (mugs) of ana is running; 1 of 4 images stored."


def test_a_job_at_its_budget_says_cost_limit_overshoot_and_what_is_undone() -> None:
    budget = Budget(limit=1, cost=1.25, reserved=0, currency="EUR")
    stopped = job(intent="paused", reason="its budget is spent", budget=budget)
    subject = JobSubject(
        job=stopped, status="paused", images=9, counts={"done": 4, "waiting": 5},
        waits=((waiting(job=stopped), 5),),
    )  # fmt: skip
    said = explain_job(subject)
    assert (
        "It has spent 1.25 EUR of its 1.00 EUR limit, 0.250 EUR over; 5 images unfinished." in said.sentences
    )
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
        lack = CandidateNode(node=node(), lack="LoRA ink is not on this node")
        return waiting(lack, needs=needs, vram_class=vram_class)

    mine = waiting(CandidateNode(node=node(), first=first()))
    several = [(mine, 90), (lacking("model a", 8), 5), (lacking("model a", 24), 2)]
    several += [(lacking(f"model {name}", 8), 2) for name in "bcd"]
    subject = JobSubject(
        job=job(), status="running", images=103, counts={"waiting": 103}, waits=tuple(several)
    )
    said = explain_job(subject)
    groups = [sentence for sentence in said.sentences if " wait: " in sentence]
    assert "7 shots wait: no node in lane public can render model a (small: LoRA ink" in groups[0]
    assert [group.split()[0] for group in groups] == ["7", "2", "2", "92"]
    assert groups[3] == "92 shots wait: 2 more reasons."
    assert "add a node with 24 GB or more that has model a" in said.remedy

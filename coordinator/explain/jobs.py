"""Explanation of a job: what remains to be done, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from common.states import ShotState
from common.units import counted
from common.views import Explanation, FailureView
from coordinator.explain.facts import JobSubject
from coordinator.explain.shots import DECIDES, MARKED
from coordinator.explain.waiting import budget_remedy, why_waiting
from coordinator.explain.wording import SHORT, Answer, a_few, capitalised, checking, listed, spent

#: Status of `farm jobs`, as the end of a sentence.
_STATUS = {
    "waiting": "is waiting",
    "running": "is running",
    "paused": "is paused",
    "cancelled": "is cancelled",
    "done": "is done",
    "failed": "ended with images missing",
    "withheld": "ended with images withheld",
    "unschedulable": "has only shots left that fit no node",
}
#: States of unfinished shots.
UNDONE = (ShotState.WAITING, ShotState.RUNNING, ShotState.DELIVERED, ShotState.UNSCHEDULABLE)


def explain_job(subject: JobSubject) -> Explanation:
    """Status and budget, then each group of unfinished shots with number and reason."""
    answers = [_standing(subject), *_budget(subject), *_waits(subject), *_rest(subject)]
    # Blocked shots need a remedy more than shots that only wait for their turn.
    remedies = [one.remedy for one in sorted(answers, key=lambda answer: answer.goes_on) if one.remedy]
    return Explanation(
        subject=subject.job.id,
        kind="job",
        sentences=tuple(f"{answer.sentence}." for answer in answers),
        remedy=remedies[0] if remedies else "",
    )


def _standing(subject: JobSubject) -> Answer:
    job, remedy = subject.job, ""
    how = _STATUS.get(subject.status, subject.status)
    if subject.status == "paused" and job.reason:
        how = f"was paused automatically: {job.reason}"
    elif subject.status == "paused":
        how, remedy = "is paused by the operator", f"`farm resume {job.id}`"
    elif job.intent == "cancelled" and not subject.removed:
        remedy = f"`farm requeue {job.id}` continues it"
    stored = f"{subject.counts.get(ShotState.DONE, 0):,} of {counted(subject.images, 'image')} stored"
    return Answer(f"Job {job.id} ({job.name}) of {job.owner} {how}; {stored}", remedy)


def _budget(subject: JobSubject) -> Iterator[Answer]:
    budget = subject.job.budget
    if budget is None:
        return
    undone = sum(subject.counts.get(state, 0) for state in UNDONE)
    over = budget.cost >= budget.limit and undone
    left = f"; {counted(undone, 'image')} unfinished" if undone else ""
    yield Answer(f"It {spent(budget)}{left}", budget_remedy(subject.job) if over else "")


def _waits(subject: JobSubject) -> Iterator[Answer]:
    """Each reason once: blocked shots first, most frequent reason first."""
    answers: dict[str, Answer] = {}
    shots: Counter[str] = Counter()
    # If only the class differs, the remedy must suffice for the largest class, which comes last.
    for waiting, images in sorted(subject.waits, key=lambda one: one[0].vram_class):
        answer = why_waiting(waiting)
        answers[answer.sentence] = answer
        shots[answer.sentence] += images
    reasons = [(answers[sentence], images) for sentence, images in shots.most_common()]
    reasons.sort(key=lambda reason: reason[0].goes_on)
    for answer, images in a_few(reasons, Answer):
        yield answer._replace(sentence=f"{_shots(images, 'wait')}: {answer.sentence}")
    if subject.retries:
        yield Answer(f"{subject.retries:,} of these shots failed before and will be retried")
    if subject.suspects:
        why = "because the engine, the node or ingest crashed while processing them"
        yield Answer(f"{subject.suspects:,} of these shots will be rendered last, one at a time, {why}")


def _rest(subject: JobSubject) -> Iterator[Answer]:
    counts = subject.counts
    if running := counts.get(ShotState.RUNNING):
        nodes = [f"{number} on {node}" for node, number in sorted(subject.running.items())]
        shots = f"{counted(running, 'shot')} {'is' if running == 1 else 'are'} running"
        yield Answer(shots + (f": {listed(nodes)}" if nodes else ""), goes_on=True)
    if delivered := counts.get(ShotState.DELIVERED):
        answer = checking(subject.check)
        yield answer._replace(sentence=f"The check of {counted(delivered, 'image')} {answer.sentence}")
    yield from (_missing(subject.job.id, failure) for failure in subject.failures)
    if subject.failed:
        names = [f"{shot_id[:SHORT]} ({name})" for shot_id, name in subject.failed]
        more = counts.get(ShotState.FAILED, 0) - len(names)
        yield Answer(f"Failed: {', '.join(names)}" + (f" and {more:,} more" if more > 0 else ""))
    if accepted := counts.get("accepted"):
        yield Answer(f"{counted(accepted, 'failed shot')} accepted as permanently missing")
    for removed in ("rejected", "deleted"):
        if number := counts.get(removed):
            yield Answer(f"{counted(number, 'image')} {removed} by a person")
    if cancelled := counts.get(ShotState.CANCELLED):
        yield Answer(f"{counted(cancelled, 'shot')} cancelled")
    if subject.removed:
        yield Answer(capitalised(subject.removed), goes_on=True)


def _missing(job_id: str, failure: FailureView) -> Answer:
    """Why some images are not there."""
    if failure.state == ShotState.WITHHELD:
        number = f"{counted(failure.shots, 'image')} {'is' if failure.shots == 1 else 'are'} withheld"
        return Answer(f"{number}: {MARKED}", DECIDES)
    if failure.state == ShotState.UNSCHEDULABLE:
        fix = "change the manifest so that they fit, or add a node with a larger card"
        if failure.kind == "out_of_memory":
            fix += f"; `farm requeue {job_id}` retries them unchanged"
        return Answer(f"{_shots(failure.shots, 'fit')} no node: {failure.message}", fix)
    give_up = "`farm accept SHOT` accepts one as permanently missing"
    fix = f"`farm retry {job_id}` retries them, {give_up}"
    return Answer(f"{counted(failure.shots, 'shot')} failed: {failure.message or failure.kind}", fix)


def _shots(number: int, verb: str) -> str:
    """`1 shot waits`, `2 shots wait`."""
    return f"{counted(number, 'shot')} {verb}{'s' if number == 1 else ''}"

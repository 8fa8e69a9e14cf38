"""Explanation of a shot: where it runs, or why it does not."""

from __future__ import annotations

from common.failures import MAX_ATTEMPTS
from common.states import ShotState
from common.units import counted, format_energy, format_money, format_seconds, format_size
from common.views import Explanation
from common.wording import shortened
from coordinator.explain.facts import ImageOrigin, ShotSubject
from coordinator.explain.waiting import why_waiting
from coordinator.explain.wording import SHORT, Answer, capitalised, checking, in_hand, listed

#: Why an image is withheld, and what comes next.
MARKED = "a classifier of its lane marked it, so that operators alone see it"
DECIDES = "the operator of the farm approves or deletes it: `farm withheld` lists what waits for that"
#: Characters of a prompt that are shown.
_PROMPT = 300
#: Phases that took fewer seconds are not listed.
_BRIEF_S = 0.05


def explain_shot(shot: ShotSubject) -> Explanation:
    """Where the shot runs or how it ended; while it waits, one sentence per job that wants it."""
    answers = _answers(shot)
    name = f"shot {shot.id[:SHORT]}" + (f" ({shot.name})" if shot.name else "")
    first, *others = answers
    sentences = [f"{name} {first.sentence}.", *(f"{capitalised(other.sentence)}." for other in others)]
    if shot.state is ShotState.WAITING and shot.attempts:
        on = f" on {listed(shot.failed_on)}" if shot.failed_on else ""
        if shot.attempts < MAX_ATTEMPTS:
            sentences.append(f"Attempt {shot.attempts} of {MAX_ATTEMPTS} failed{on}: {shot.reason}.")
        else:
            sentences.append(
                f"{shot.attempts} attempts failed{on}: {shot.reason}. These are nodes of one volunteer, so a "
                "node of another owner tries it before it fails for good."
            )
    if shot.image is not None:
        sentences += _made(shot.image)
    return Explanation(subject=shot.id, kind="shot", sentences=tuple(sentences), remedy=first.remedy)


def _answers(shot: ShotSubject) -> list[Answer]:
    match shot.state:
        case ShotState.WAITING:
            return _waits(shot)
        case ShotState.RUNNING:
            where = f" on node {shot.hand.node}, {in_hand(shot.hand)}" if shot.hand else ""
            return [Answer(f"is being rendered{where}", goes_on=True)]
        case ShotState.DELIVERED:
            by = f" by node {shot.hand.node}" if shot.hand else ""
            answer = checking(shot.check)
            return [answer._replace(sentence=f"was rendered{by}; the check of its image {answer.sentence}")]
        case ShotState.DONE if not shot.jobs:
            remedy = f"`farm delete {shot.id[:SHORT]}` deletes it from the store"
            return [Answer("is stored, but no job has it in its results", remedy, goes_on=True)]
        case ShotState.DONE:
            return [Answer("is stored", goes_on=True)]
        case _:
            return [_without_image(shot)]


def _without_image(shot: ShotSubject) -> Answer:
    """Of a shot that nothing goes on with, and which has no image for everybody."""
    job = shot.jobs[0] if shot.jobs else "JOB"
    match shot.state:
        case ShotState.WITHHELD:
            return Answer(f"is withheld: {MARKED}", DECIDES)
        case ShotState.FAILED if shot.accepted:
            remedy = f"`farm requeue {job}` retries it"
            return Answer(f"failed and was accepted as permanently missing: {_why(shot)}", remedy)
        case ShotState.FAILED:
            on = f" on {listed(shot.failed_on)}" if shot.failed_on else ""
            give_up = f"`farm accept {shot.id[:SHORT]}` accepts it as permanently missing"
            return Answer(f"failed{on}: {_why(shot)}", f"`farm retry {job}` retries it; {give_up}")
        case ShotState.UNSCHEDULABLE:
            remedy = "change the manifest so that it fits, or add a node with a larger card"
            if shot.failure == "out_of_memory":
                remedy += f"; `farm requeue {job}` retries it unchanged"
            return Answer(f"fits no node: {_why(shot)}", remedy)
        case ShotState.CANCELLED if shot.deleted_by:
            remedy = "submit its manifest again to render it again"
            return Answer(f"has no image: {shot.deleted_by} deleted it", remedy, goes_on=True)
        case _:
            return Answer("is cancelled: no job wants it any more", "`farm requeue JOB` renders it after all")


def _made(image: ImageOrigin) -> list[str]:
    """Where the image is, and how, from what and at what cost it was made."""
    phases = ", ".join(f"{phase} {format_seconds(s)}" for phase, s in image.seconds.items() if s >= _BRIEF_S)
    took = format_seconds(sum(image.seconds.values())) + (f" ({phases})" if phases else "")
    money, energy = format_money(image.cost, image.currency), format_energy(image.joules)
    shot = image.shot
    size, steps = format_size(shot.width, shot.height), counted(shot.steps, "step")
    if shot.upscaler:
        size += f" enlarged to {format_size(*shot.final_size)} by {shot.upscaler.name}"
    return [
        f"Node {image.node} rendered it by recipe {image.recipe} in {took}.",
        f"It cost {money}, with {energy} ({image.energy_method}).",
        f"Model {shot.model}, seed {shot.seed}, {size}, {steps}; "
        f"prompt: {shortened(shot.prompt, _PROMPT).rstrip('.')}.",
        f"Its key in the store is {image.key}.",
    ]


def _waits(shot: ShotSubject) -> list[Answer]:
    """Why the shot waits, one answer per job; answers that need no action come first."""
    answers = sorted(map(why_waiting, shot.waits), key=lambda answer: not answer.goes_on)
    first, *others = answers or [
        Answer("every job that wants it is cancelled", "`farm requeue JOB` continues a job")
    ]
    return [first._replace(sentence=f"waits: {first.sentence}"), *others]


def _why(shot: ShotSubject) -> str:
    return shot.reason or shot.failure or "no reason was recorded"

"""Explanation of a node: what it is doing, or why it gets no work."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from common.states import NodeState
from common.units import counted, format_size
from common.views import Explanation
from coordinator.explain.facts import LaneWork, NodeSubject
from coordinator.explain.wording import Answer, a_few, capitalised, in_hand, out_of_service, slowly
from coordinator.scheduling.planner import refusal


def explain_node(subject: NodeSubject) -> Explanation:
    """What the node is doing, what it gets next from each lane, and why it cannot take the rest."""
    answers = [*_standing(subject), *_version(subject), *_slowness(subject), *_memory(subject)]
    if subject.node.in_service:
        for lane in subject.lanes:
            answers += _lane(lane)
        if all(lane.first is None for lane in subject.lanes):
            answers += _other_lanes(subject)
    needs_doing = [answer.remedy for answer in answers if answer.remedy]
    return Explanation(
        subject=subject.node.name,
        kind="node",
        sentences=tuple(f"{capitalised(answer.sentence)}." for answer in answers),
        remedy=needs_doing[0] if needs_doing else "",
    )


def _standing(subject: NodeSubject) -> Iterator[Answer]:
    node, hand = subject.node, subject.hand
    if not node.in_service or node.state is NodeState.SELFTEST:
        yield out_of_service(node)
    if hand is not None:
        yield Answer(
            f"node {node.name} is rendering {counted(hand.shots, 'shot')} of job {hand.job_id} "
            f"{in_hand(hand)}"
        )
    elif node.state in (NodeState.READY, NodeState.BUSY):
        yield Answer(f"node {node.name} is ready and has no batch")


def _version(subject: NodeSubject) -> Iterator[Answer]:
    if subject.version and subject.farm_version and subject.version != subject.farm_version:
        yield Answer(
            f"it runs shotfarm {subject.version}; the farm runs {subject.farm_version}",
            f"install shotfarm=={subject.farm_version} on {subject.node.name}",
        )


def _slowness(subject: NodeSubject) -> Iterator[Answer]:
    for path in subject.slow_paths:
        yield Answer(f"it {slowly(path)}; the farm plans with the rate that it has", path.remedy)


def _memory(subject: NodeSubject) -> Iterator[Answer]:
    """What cards of its type have shown: work that ran out of memory, and how fast recipes are."""
    for view in subject.memory:
        if view.most_images is not None:
            size = format_size(view.width, view.height)
            work = f"{view.model} at {size}, guidance {view.guidance:g}, recipe {view.recipe}"
            most = counted(view.most_images, "image") if view.most_images else "no image"
            yield Answer(f"{view.card} cards ran out of memory with {work}: {most} per pass for now")
    for model, views in groupby((view for view in subject.memory if view.pace_s), lambda view: view.model):
        paces = ", ".join(f"{view.pace_s:.3g} s by {view.recipe}" for view in views)
        yield Answer(f"such cards were measured to take {paces} per megapixel and denoiser run of {model}")


def _lane(work: LaneWork) -> Iterator[Answer]:
    if work.first is not None:
        yield Answer(
            f"it will take {counted(work.images, 'shot')} of job {work.first.job_id} next (lane {work.lane})"
        )
    elif not work.refusals:
        yield Answer(refusal(work.lane, {}))
    worst = sorted(work.refusals, key=lambda one: one.images, reverse=True)
    # A node that has work needs no remedy.
    needy = work.first is None
    answers = [(one, Answer(one.sentence, one.remedy if needy else "")) for one in worst]
    for one, answer in answers:
        if one.leaves:
            left = f"it leaves {counted(one.images, 'image')} in lane {work.lane} to others"
            yield answer._replace(sentence=f"{left}: {answer.sentence}")
    reasons = [(answer, one.images) for one, answer in answers if not one.leaves]
    for answer, images in a_few(reasons, Answer):
        words = f"it cannot render {counted(images, 'image')} in lane {work.lane}: {answer.sentence}"
        yield answer._replace(sentence=words)


def _other_lanes(subject: NodeSubject) -> Iterator[Answer]:
    for lane, images in sorted(subject.other_lanes.items()):
        wait = "waits" if images == 1 else "wait"
        if lane in subject.closed_lanes:
            yield Answer(f"{counted(images, 'image')} {wait} in lane {lane}: {subject.closed_lanes[lane]}")
            continue
        yield Answer(
            f"{counted(images, 'image')} {wait} in lane {lane}, which it does not serve",
            f"to serve this lane as well, restart the node with an additional `--lane {lane}`",
        )

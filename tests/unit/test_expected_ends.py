"""When jobs are expected to end: what goes before a job is part of it, and nothing else."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.fit import Seen
from common.nodes import Card
from common.shot import Shot
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.expected_ends import ExpectedEnds
from coordinator.scheduling.horizon import Horizon, NodeKind, Seat, WaitingWork
from coordinator.scheduling.placing import Placement
from coordinator.scheduling.work import OpenJob

CLOSE = 0.01


class Job(NamedTuple):
    """Ten images of ten seconds by default."""

    owner: str = "ana"
    priority: int = 50
    images: int = 10
    #: Seconds that it had.
    service_s: float = 0.0
    nodes: str = "a"


def seat(node_id: str, image_s: float = 10.0) -> Seat:
    return Seat(node_id, NodeKind("card", None), free_at=0.0, load_s=0.0, image_s=image_s)


def nowhere(shot: Shot, card: Card, seen: Seen) -> Placement | str:
    return "not asked"


def expected(*jobs: Job, image_s: float = 10.0, **usage: float) -> ExpectedEnds:
    """Jobs `0`, `1`, …; `usage`: seconds that owners had lately."""
    backlog = Backlog(nowhere)
    works = []
    for number, job in enumerate(jobs):
        backlog.jobs[str(number)] = OpenJob(
            job.owner, "public", job.priority, 0.0, None, 0.0, {}, service_s=job.service_s
        )
        seats = tuple(seat(node, image_s) for node in job.nodes)
        works.append(WaitingWork(str(number), "m", job.images, seats, job.priority))
    for owner, seconds in usage.items():
        backlog.usage.add(owner, seconds, 0.0)
    return ExpectedEnds(0.0, backlog, {"public": works})


@pytest.mark.parametrize(
    ("others", "end"),
    [
        pytest.param([], 100, id="alone"),
        pytest.param([Job(priority=80, images=30)], 400, id="a higher priority goes first, wholly"),
        pytest.param([Job(priority=20, images=30)], 100, id="a lower one does not"),
        pytest.param([Job(images=1000)], 200, id="a large job takes turns with it"),
        pytest.param([Job(images=3)], 130, id="a small one is over before it"),
        pytest.param([Job(images=1000, service_s=60)], 140, id="one that had more gives way first"),
        pytest.param([Job("ben", images=1000)] * 3, 200, id="three jobs of an owner have one share"),
        pytest.param([Job("ben", images=2), Job("cleo", images=1000)], 220, id="each owner has one"),
        pytest.param([Job(images=1000, nodes="b")], 100, id="work of other nodes delays nothing"),
        pytest.param([Job(priority=80, images=10, nodes="ab")], 150, id="two nodes share what goes first"),
    ],
)
def test_a_job_ends_after_what_goes_before_it(others: list[Job], end: float) -> None:
    assert expected(Job(), *others).of("0") == pytest.approx(end, rel=CLOSE)


def test_a_job_loses_the_power_of_the_nodes_that_others_take() -> None:
    # Alone its two nodes need 50 s; one of them is lost to the other job for 100 s.
    ends = expected(Job(nodes="ab"), Job(priority=80, nodes="b"))
    assert ends.of("0") == pytest.approx(100, rel=CLOSE)


def test_an_owner_who_had_more_lately_waits_for_the_others() -> None:
    jobs = Job("ana"), Job("ben", images=1000)
    assert expected(*jobs, ana=60).of("0") == pytest.approx(260, rel=CLOSE)
    assert expected(*jobs, ben=60).of("0") == pytest.approx(140, rel=CLOSE)


def test_what_an_owner_gets_first_for_an_urgent_job_counts_for_the_others_share() -> None:
    urgent, ordinary = Job("ben", priority=80, images=5), Job("ben", images=1000)
    assert expected(Job("ana"), urgent, ordinary).of("0") == pytest.approx(200, rel=CLOSE)


@pytest.mark.parametrize(
    ("own", "common", "end"), [(70, 500, 400), (70, 350, 350), (450, 500, 450), (inf, inf, 400)]
)
def test_a_job_ends_between_its_own_and_the_common_end_of_the_horizon(
    own: float, common: float, end: float
) -> None:
    ends = expected(Job(), Job(priority=80, images=30))
    ends.backlog.horizons = {"public": Horizon(0.0, ends={"0": own}, limits={"0": common})}
    assert ends.of("0") == pytest.approx(end, rel=CLOSE)


def test_nothing_is_expected_of_a_job_that_no_node_takes_or_that_nobody_knows() -> None:
    ends = expected(Job(nodes=""))
    assert (ends.of("0"), ends.of("none")) == (None, None)


several = st.lists(
    st.builds(
        lambda *facts: Job(*facts),
        st.sampled_from(["ana", "ben", "cleo"]),
        st.sampled_from([50, 80]),
        st.integers(1, 30),
        st.integers(0, 20).map(float),
    ),
    min_size=1,
    max_size=6,
)


@given(
    several, st.fixed_dictionaries({name: st.integers(0, 40).map(float) for name in ("ana", "ben", "cleo")})
)
def test_a_node_that_follows_the_planners_order_ends_each_job_when_expected(
    jobs: list[Job], usage: dict[str, float]
) -> None:
    ends = expected(*jobs, image_s=1.0, **usage)
    left, service = [job.images for job in jobs], [job.service_s for job in jobs]
    used, ended = dict(usage), dict[int, int]()
    for second in range(1, sum(left) + 1):
        waiting = [number for number in range(len(jobs)) if left[number]]
        at = min(waiting, key=lambda n: (-jobs[n].priority, used[jobs[n].owner], service[n], n))
        left[at] -= 1
        used[jobs[at].owner] += 1
        service[at] += 1
        if not left[at]:
            ended[at] = second
    for number, end in ended.items():
        # Turns of one image: each of the others may have had one more, as a job and for its owner.
        assert ends.of(str(number)) == pytest.approx(end, abs=2 * len(jobs) + 1)

"""The shortlist: a claim that looks at little gets what it would get if it looked at all that waits."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from common.fit import Seen
from common.nodes import Card
from common.settings import Money
from common.shot import LoraUse, Shot, UpscalerUse
from common.states import NodeState
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.changes import (
    BatchLeased,
    JobOpened,
    JobPrioritised,
    NodeMoved,
    NodesChanged,
    OwnerServed,
    ShotsTaken,
    ShotsWaiting,
    SpeedMeasured,
)
from coordinator.scheduling.horizon import Horizon
from coordinator.scheduling.member import Member
from coordinator.scheduling.offers import offer
from coordinator.scheduling.placing import Placement
from coordinator.scheduling.running import RunningBatch
from coordinator.scheduling.shortlist import next_work
from coordinator.scheduling.work import Line, OpenJob, WorkSample
from tests.cards import card_facts

BATCH_S = 120.0
RATES = Money()
MODELS, LORAS, LANES = ("tiny", "other"), ("mia", "leo"), ("public", "private")


def card(vram_gib: int) -> Card:
    return Card(**card_facts(vram_gib).model_dump())


def place(shot: Shot, card: Card, seen: Seen) -> Placement | str:
    """Of one model nothing tells how long it takes; large images fit large cards."""
    if shot.width > 1000 and card.vram_class < 16:
        return "too large"
    pace_s = None if shot.model == "other" else 10.0 / card.vram_class * (2.0 if shot.width > 1000 else 1.0)
    return Placement("bf16", card.vram_class // 4, pace_s, load_s=20.0)


def work(random: Random) -> tuple[str, WorkSample]:
    model, width, steps = random.choice(MODELS), random.choice((500, 1000, 2000)), random.randint(1, 9)
    loras = tuple(name for name in LORAS if random.random() < 0.3)
    uses = tuple(LoraUse(name, name, 1.0) for name in loras)
    shot = Shot(model, "", "a mug", "", 0, width, 1000, steps, 1.0, "euler", loras=uses)
    amount = shot.megapixels * steps
    return f"{model} {width} {steps} {loras}", WorkSample(model, loras, amount, 1, shot)


def node(random: Random, name: str) -> Member:
    vram = random.choice((8, 12, 24))
    models = frozenset(model for model in MODELS if random.random() < 0.8)
    loaded = random.choice((None, *sorted(models)))
    return Member(
        id=name,
        state=random.choice((NodeState.READY, NodeState.READY, NodeState.BUSY, NodeState.SELFTEST)),
        card=card(vram),
        terms="owned",
        vram_class=vram,
        lanes=frozenset(LANES if random.random() < 0.5 else LANES[:1]),
        models=models,
        loras=frozenset(name for name in LORAS if random.random() < 0.7),
        missing_recipes={},
        aside={},
        loaded=(loaded, frozenset(name for name in LORAS if loaded and random.random() < 0.3)),
        speeds={model: random.choice((1.0, 5.0, 20.0)) for model in MODELS if random.random() < 0.7},
        loads={model: random.choice((5.0, 30.0)) for model in MODELS if random.random() < 0.7},
    )


def test_a_node_that_put_an_upscaler_aside_takes_what_needs_none() -> None:
    member = replace(node(Random(1), "n"), models=frozenset(MODELS), aside={"esrgan": "its file is wrong"})
    plain = WorkSample("tiny", (), 1.0, 1, Shot("tiny", "", "a mug", "", 0, 512, 512, 4, 1.0, "euler"))
    use = UpscalerUse("esrgan", "sha256:" + "1" * 64, 4, 36.0)
    upscaled = plain._replace(shot=plain.shot._replace(upscaler=use))

    assert member.lacks(plain, 8) is None
    assert member.lacks(upscaled, 8) == "this node put esrgan aside: its file is wrong"


class Farm:
    """A backlog after a random course of changes."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now = 1000.0
        self.backlog = Backlog(place)
        for number in range(random.randint(1, 6)):
            name = f"n{number}"
            self.backlog.apply(NodesChanged({name: node(random, name)}))
        for number in range(random.randint(1, 8)):
            self.open_job(f"j{number}")
        for _ in range(random.randint(0, 12)):
            random.choice(
                (self.wait, self.wait, self.take, self.serve, self.lease, self.prioritise, self.move)
            )()

    def open_job(self, job_id: str) -> None:
        self.now += 1
        budget = self.random.choice((None, None, 0.05))
        owner, priority = self.random.choice(("ana", "ben", "cleo")), self.random.choice((50, 50, 70))
        lane = self.random.choice(LANES)
        job = OpenJob(owner, lane, priority, self.now, budget, 0.0, {})
        self.backlog.apply(JobOpened(job_id, job))
        for _ in range(self.random.randint(1, 4)):
            self.wait(job_id)

    def wait(self, job_id: str | None = None) -> None:
        key, sample = work(self.random)
        job_id = job_id or self.random.choice(sorted(self.backlog.jobs))
        line = Line(job_id, key, self.random.choice((8, 8, 12, 24)))
        self.backlog.apply(ShotsWaiting({line: self.random.randint(1, 40)}, {key: sample}))

    def take(self) -> None:
        if self.backlog.lines:
            line = self.random.choice(sorted(self.backlog.lines))
            self.backlog.apply(ShotsTaken({line: self.random.randint(1, self.backlog.lines[line])}))

    def serve(self) -> None:
        owner = self.random.choice(("ana", "ben"))
        self.backlog.apply(OwnerServed(owner, self.random.choice((30.0, 500.0, 2000.0)), self.now))

    def lease(self) -> None:
        if self.backlog.lines:
            line = self.random.choice(sorted(self.backlog.lines))
            name = self.random.choice(sorted(self.backlog.nodes()))
            batch = RunningBatch(
                id=f"b{self.now}",
                job_id=line.job_id,
                work_key=line.work_key,
                min_class=8,
                left=2,
                pass_size=1,
                since=self.now,
                image_s=5.0,
            )
            seconds = self.random.choice((20.0, 120.0, 700.0))
            self.backlog.apply(BatchLeased(name, batch, seconds, self.now, 0.001))

    def prioritise(self) -> None:
        job_id = self.random.choice(sorted(self.backlog.jobs))
        self.backlog.apply(JobPrioritised(job_id, self.random.choice((50, 70))))

    def move(self) -> None:
        name = self.random.choice(sorted(self.backlog.nodes()))
        if self.random.random() < 0.5:
            states = NodeState.READY, NodeState.BUSY, NodeState.LOST
            self.backlog.apply(NodeMoved(name, self.random.choice(states)))
        else:
            self.backlog.apply(
                SpeedMeasured(name, self.random.choice(MODELS), self.random.choice((2.0, 9.0)))
            )

    def look_ahead(self) -> None:
        """Some horizon, with work that ends in time, work that delays its job, and late work."""
        ends = {job_id: self.now + self.random.choice((5.0, 30.0, 200.0)) for job_id in self.backlog.jobs}
        limits = {job_id: end + self.random.choice((0.0, 20.0, 300.0)) for job_id, end in ends.items()}
        kinds = sorted({member.kind for member in self.backlog.serving.values()}, key=str)
        shares = {(kind, model): self.random.choice((0.0, 10.0, 300.0)) for kind in kinds for model in MODELS}
        cards = sorted({kind.card_type for kind in kinds})
        wasteful = {
            (job_id, model): frozenset(card for card in cards if self.random.random() < 0.3)
            for job_id in ends
            for model in MODELS
        }
        self.backlog.horizons = {
            lane: Horizon(self.now, ends, limits, shares, wasteful=wasteful) for lane in LANES
        }


@pytest.mark.parametrize("looks_ahead", [False, True])
def test_the_choice_is_the_same_as_among_all_that_waits(looks_ahead: bool) -> None:
    found = 0
    for seed in range(60):
        farm = Farm(Random(seed))
        if looks_ahead:
            farm.look_ahead()
        backlog = farm.backlog
        for member in backlog.nodes().values():
            for lane in sorted(member.lanes):
                expected = offer(member, lane, backlog, RATES, farm.now).choose(BATCH_S)
                choice = next_work(member, lane, backlog, RATES, farm.now, BATCH_S)
                assert (choice and choice.option) == (expected and expected.option), (seed, member.id, lane)
                found += choice is not None
    assert found > 100

"""No starvation: whatever else waits, each waiting shot that fits a node is claimed within a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.changes import JobOpened, NodesChanged, ShotsWaiting
from coordinator.scheduling.driver import LOOK_RARELY_S, Driver
from coordinator.scheduling.member import Member
from coordinator.scheduling.planner import AFFINITY_BATCHES
from coordinator.scheduling.work import Line, OpenJob, WorkSample
from tests.unit.test_driver import Nodes
from tests.unit.test_simulation import SHOT, Speed, member, placer

BATCH_S, PATIENCE_S = 120.0, 10.0
#: Batches that a node may be given while the end is far.
LONGEST = 4
#: Class of each card, and its speeds.
CLASSES = {"s": 8, "m": 12, "l": 24}
CARDS = {
    "s": {"m": Speed(120.0, 60.0), "n": Speed(30.0, 20.0)},
    "m": {"m": Speed(25.0, 40.0, 2), "n": Speed(9.0, 5.0, 3)},
    "l": {"m": Speed(5.0, 20.0, 4), "o": Speed(40.0, 90.0)},
}


def node(node_id: str, card: str) -> Member:
    return replace(member(node_id, card), vram_class=CLASSES[card])


class Farm(Nodes):
    """A fleet by its cards, and jobs that come while it works."""

    def __init__(self, fleet: str) -> None:
        made = Backlog(placer(CARDS))
        nodes = [node(str(number), card) for number, card in enumerate(fleet)]
        made.apply(NodesChanged({one.id: one for one in nodes}))
        super().__init__(Driver(made, batch_s=BATCH_S, patience_s=PATIENCE_S))
        self._numbers = count()

    def submit(self, owner: str, priority: int, model: str, min_class: int, images: int) -> Line:
        job_id = f"j{next(self._numbers)}"
        sample = WorkSample(model, (), 1.0, 1, SHOT._replace(model=model))
        line = Line(job_id, model, min_class)
        self.driver.tell(
            JobOpened(job_id, OpenJob(owner, "public", priority, self.now, None, 0.0, {})),
            ShotsWaiting({line: images}, {model: sample}),
        )
        return line

    def waiting(self) -> list[Line]:
        """What fits a node in service."""
        return [line for line in self.driver.backlog.lines if self.takers(line)]

    def takers(self, line: Line) -> list[str]:
        return self.driver.backlog.takers("public", line)

    def bound_s(self) -> float:
        """Seconds that all work takes one image after the other, each with a load, on the slowest card."""
        made = self.driver.backlog
        waiting = sum(
            images * self._longest_s(line, self.takers(line)) for line, images in made.lines.items()
        )
        running = sum(
            batch.left * self._longest_s(Line(batch.job_id, batch.work_key, 8), [node_id])
            for node_id, batch in made.running.items()
        )
        return PATIENCE_S + 2 * LOOK_RARELY_S + waiting + running

    def _longest_s(self, line: Line, node_ids: Sequence[str]) -> float:
        speeds = [CARDS[self.driver.backlog.known(one).card.name][line.work_key] for one in node_ids]
        return max((speed.image_s + speed.load_s for speed in speeds), default=0.0)


orders = st.tuples(
    st.just("submit"),
    st.sampled_from("xyz"),
    st.sampled_from([10, 50, 90]),
    st.sampled_from("mno"),
    st.sampled_from([8, 12, 24]),
    st.integers(1, 15),
)
steps = st.tuples(st.just("steps"), st.integers(1, 20))
moves = st.tuples(st.sampled_from(["lose", "join"]), st.integers(0, 5))


@settings(max_examples=12)
@given(st.text("sml", min_size=1, max_size=6), st.lists(st.one_of(orders, steps, moves), max_size=10))
def test_each_waiting_shot_that_fits_a_node_is_claimed_within_a_bound(
    fleet: str, events: list[tuple[str, ...]]
) -> None:
    farm = Farm(fleet)
    due_at = farm.bound_s()
    for kind, *arguments in events:
        match kind, arguments:
            case "submit", (owner, priority, model, min_class, images):
                farm.submit(owner, priority, model, min_class, images)
            case "lose", (number,):
                farm.lose(str(number % len(fleet)))
            case "join", (number,):
                farm.join(node(str(number % len(fleet)), fleet[number % len(fleet)]))
        for _ in range(arguments[0] if kind == "steps" else 0):
            farm.step()
            assert farm.now <= due_at or not farm.waiting()
        # What comes or goes begins the wait anew.
        due_at = due_at if kind == "steps" else farm.now + farm.bound_s()
    while farm.waiting():
        farm.step()
        assert farm.now <= due_at


@settings(max_examples=8)
@given(
    st.text("sml", min_size=1, max_size=6),
    st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from("mno"), st.integers(1, 100)), max_size=4),
    st.integers(0, 30),
    st.sampled_from("mno"),
    st.sampled_from([8, 12, 24]),
    st.integers(1, 5),
)
def test_what_other_owners_have_waiting_does_not_lengthen_the_wait_of_an_owner(
    fleet: str, others: list[tuple[str, str, int]], before: int, model: str, min_class: int, images: int
) -> None:
    farm = Farm(fleet)
    for owner, its_model, many in others:
        farm.submit(owner, 50, its_model, 8, many)
    for _ in range(before):
        farm.step()
    line = farm.submit("new", 50, model, min_class, images)
    if takers := farm.takers(line):
        due_at = farm.now + (AFFINITY_BATCHES + LONGEST) * BATCH_S + 2 * farm._longest_s(line, takers)
        while farm.driver.backlog.lines.get(line) == images:
            farm.step()
            assert farm.now <= due_at

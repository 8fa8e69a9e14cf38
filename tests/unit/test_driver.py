"""The driver: no image is lost, or rendered twice but on purpose, whatever nodes do."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from common.states import NodeState
from coordinator.scheduling.changes import ShotsWaiting
from coordinator.scheduling.driver import Assignment, Decisions, Driver, Trim
from coordinator.scheduling.member import Member
from coordinator.scheduling.work import Line
from tests.unit.test_simulation import CARD, SHOT, Speed, backlog, member

CARDS = {"a": CARD, "b": {"m": Speed(25.0, 40.0), "n": Speed(9.0, 5.0, 3)}, "c": {"m": Speed(400.0, 60.0)}}


class Nodes:
    """Nodes that do as they are told: what each renders, and when its pass ends."""

    def __init__(self, driver: Driver) -> None:
        self.driver, self.now, self.rendered = driver, 0.0, 0
        #: Node to the images of its pass, and their end.
        self.passes: dict[str, tuple[int, float]] = {}
        #: Node to when it began its batch.
        self.begun: dict[str, float] = {}

    def follow(self, decisions: Decisions) -> None:
        for decision in decisions:
            match decision:
                case Assignment(node_id):
                    assert node_id not in self.passes
                    self.begun[node_id] = self.now
                    self.begin_pass(node_id)
                case Trim(node_id, images):
                    batch = self.driver.backlog.running[node_id]
                    assert 0 < images <= batch.left - self.passes[node_id][0]
                    self.driver.take_back(*decision)

    def begin_pass(self, node_id: str) -> None:
        batch = self.driver.backlog.running[node_id]
        images = min(batch.left, batch.pass_size)
        self.passes[node_id] = images, max(self.now, batch.since) + images * (batch.image_s or 0.0)

    def end_pass(self, node_id: str) -> None:
        images, end = self.passes.pop(node_id)
        self.now = max(self.now, end)
        self.rendered += images
        for other, fewer in self.driver.advance(node_id, images, self.now):
            mine, other_end = self.passes[other]
            self.passes[other] = max(0, mine - fewer), other_end
        if self.driver.backlog.running[node_id].left:
            self.begin_pass(node_id)
        else:
            self.driver.end(node_id, self.now - self.begun[node_id])
            self.follow(self.driver.claim(node_id, self.now))

    def lose(self, node_id: str) -> None:
        """What the node had waits again, but for what another one renders as well."""
        batch, running = self.driver.backlog.running.get(node_id), self.driver.backlog.running.values()
        works = dict(self.driver.backlog.works)
        self.passes.pop(node_id, None)
        self.driver.lose(node_id, self.now - self.begun.get(node_id, self.now))
        if batch is not None and batch.duplicates not in {other.id for other in running}:
            copied = sum(other.left for other in running if other.duplicates == batch.id)
            line = Line(batch.job_id, batch.work_key, batch.min_class)
            if images := batch.left - copied:
                self.driver.tell(ShotsWaiting({line: images}, {batch.work_key: works[batch.work_key]}))

    def join(self, node: Member) -> None:
        if self.driver.backlog.known(node.id).state is NodeState.LOST:
            self.driver.join(node)

    def step(self) -> None:
        """What comes first: the next look ahead, or the end of a pass."""
        ends = {node_id: end for node_id, (_, end) in self.passes.items()}
        node_id = min(ends, key=lambda one: (ends[one], one), default=None)
        if node_id is None or self.driver.due_at < ends[node_id]:
            self.now = max(self.now, self.driver.due_at)
            self.follow(self.driver.tick(self.now))
        else:
            self.end_pass(node_id)

    @property
    def in_hand(self) -> int:
        """Images that wait, or that somebody renders, each counted once."""
        made = self.driver.backlog
        ids = {batch.id for batch in made.running.values()}
        own = sum(batch.left for batch in made.running.values() if batch.duplicates not in ids)
        return own + sum(made.lines.values())


IMAGES = {"m": 14}
WORKS = backlog(CARDS, "abc", IMAGES).works


@settings(max_examples=15)
@given(
    st.text("abc", min_size=1, max_size=5).map(lambda cards: f"{cards}b"),
    st.lists(st.tuples(st.sampled_from(["steps", "lose", "join"]), st.integers(0, 9)), max_size=12),
)
def test_each_image_is_rendered_once_and_none_waits_forever_whatever_nodes_do(
    fleet: str, events: list[tuple[str, int]]
) -> None:
    made = backlog(CARDS, fleet, IMAGES)
    # So much that a few seconds more of it may be spent on duplicates.
    made.jobs["j"].worked_s = 1e5
    nodes = Nodes(Driver(made, batch_s=120.0, patience_s=10.0))
    for event, number in events:
        node = number % len(fleet)
        match event:
            case "steps":
                for _ in range(number):
                    nodes.step()
            case "lose":
                nodes.lose(str(node))
            case "join":
                nodes.join(member(str(node), fleet[node]))
        assert nodes.rendered + nodes.in_hand == sum(IMAGES.values())
    # It has all models.
    nodes.join(member(str(len(fleet) - 1), fleet[-1]))
    while nodes.in_hand:
        nodes.step()
        assert nodes.now < 20_000
    assert nodes.rendered == sum(IMAGES.values())


def test_a_pass_that_a_slow_node_renders_last_is_rendered_by_a_free_one_too() -> None:
    made = backlog(CARDS, "ac", {"m": 3})
    made.jobs["j"].worked_s = 1e5
    nodes = Nodes(Driver(made, batch_s=120.0, patience_s=10.0))
    nodes.lose("0")
    while "1" not in nodes.passes:
        nodes.step()
    nodes.join(member("0", "a"))
    while nodes.in_hand:
        nodes.step()
    assert (nodes.rendered, nodes.now < 400) == (3, True)


def test_work_that_is_released_by_other_work_is_begun_at_once_beside_it() -> None:
    made = backlog({"a": CARD, "b": {"n": Speed(9.0, 5.0, 3)}}, "ab", {"m": 20})
    nodes = Nodes(Driver(made, batch_s=120.0, patience_s=10.0))
    for _ in range(3):
        nodes.step()
    assert [*nodes.passes] == ["0"]
    # The next stage of some images, long before the others are rendered.
    following = WORKS["m"]._replace(model="n", shot=SHOT._replace(model="n"))
    nodes.driver.tell(ShotsWaiting({Line("j", "n", 8): 4}, {"n": following}))
    told_at, nodes.now = nodes.now, nodes.driver.due_at
    nodes.follow(nodes.driver.tick(nodes.now))
    assert nodes.now - told_at < 1.0
    assert (nodes.passes.keys(), made.running["1"].work_key) == ({"0", "1"}, "n")
    while nodes.in_hand:
        nodes.step()
    assert nodes.rendered == 20 + 4

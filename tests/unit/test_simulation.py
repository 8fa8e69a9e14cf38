"""Simulations: the planner on a simulated clock renders each shot once, and never beats the bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.fit import Seen
from common.nodes import Card
from common.shot import Shot
from common.states import NodeState
from common.units import GIB
from coordinator.scheduling.backlog import Backlog
from coordinator.scheduling.changes import JobOpened, NodesChanged, ShotsWaiting
from coordinator.scheduling.member import Member
from coordinator.scheduling.placing import Placement, Placer
from coordinator.scheduling.work import Line, OpenJob, WorkSample
from coordinator.simulate.bound import lower_bound_s
from coordinator.simulate.simulation import Stint, simulate

SHOT = Shot("m", "", "a mug", "", 0, 1000, 1000, 1, 0.0, "euler")
#: Rounding of sums.
CLOSE = 1e-6


class Speed(NamedTuple):
    """What a card takes of a model, in seconds."""

    image_s: float
    load_s: float
    pass_size: int = 1


#: Card to its speed by model.
Cards = Mapping[str, Mapping[str, Speed]]


def placer(cards: Cards) -> Placer:
    def place(shot: Shot, card: Card, seen: Seen) -> Placement | str:
        speed = cards[card.name].get(shot.model)
        if speed is None:
            return "no room"
        return Placement("recipe", speed.pass_size, speed.image_s, speed.load_s)

    return place


def member(node_id: str, card: str, loaded: str | None = None) -> Member:
    size = 8 * GIB
    return Member(
        id=node_id,
        state=NodeState.READY,
        card=Card(name=card, backend="cuda", vram_bytes=size, usable_bytes=size, ram_bytes=size),
        terms="owned",
        vram_class=8,
        lanes=frozenset({"public"}),
        models=frozenset("mno"),
        loras=frozenset(),
        missing_recipes={},
        aside={},
        loaded=(loaded, frozenset()),
        speeds={},
    )


def backlog(
    cards: Cards, fleet: Sequence[str], images: Mapping[str, int], loaded: str | None = None
) -> Backlog:
    """`fleet` has a card for each node, `images` how many wait by model."""
    made = Backlog(placer(cards))
    nodes = [member(f"{number}", card, loaded) for number, card in enumerate(fleet)]
    made.apply(NodesChanged({node.id: node for node in nodes}))
    made.apply(JobOpened("j", OpenJob("ana", "public", 50, 0.0, None, 0.0, {})))
    samples = {model: WorkSample(model, (), 1.0, 1, SHOT._replace(model=model)) for model in images}
    made.apply(ShotsWaiting({Line("j", model, 8): number for model, number in images.items()}, samples))
    return made


def course(made: Backlog) -> list[Stint]:
    return simulate(made, batch_s=120.0, patience_s=10.0)


def makespan(stints: Sequence[Stint]) -> float:
    return max(stint.end for stint in stints)


speeds = st.builds(Speed, st.floats(0.5, 300), st.floats(0, 120), st.integers(1, 6))
kinds = st.dictionaries(st.sampled_from("mno"), speeds, min_size=3)


@settings(max_examples=25)
@given(
    st.dictionaries(st.sampled_from("abc"), kinds, min_size=1),
    st.data(),
    st.dictionaries(st.sampled_from("mno"), st.integers(1, 60), min_size=1),
)
def test_each_shot_is_rendered_once_by_a_node_that_has_loaded_its_model(
    cards: Cards, data: st.DataObject, images: Mapping[str, int]
) -> None:
    fleet = data.draw(st.lists(st.sampled_from(sorted(cards)), min_size=1, max_size=8))
    made = backlog(cards, fleet, images)
    bound_s = lower_bound_s(made)
    stints = course(made)
    rendered: Counter[str] = Counter()
    for stint in stints:
        rendered[stint.model] += stint.images
    assert rendered == images
    assert not made.lines
    assert not made.running
    assert makespan(stints) >= bound_s
    for number, card in enumerate(fleet):
        own = sorted((one for one in stints if one.node_id == str(number)), key=lambda one: one.begin)
        free_at, loaded = 0.0, None
        for stint in own:
            speed = cards[card][stint.model]
            load_s = 0.0 if loaded == stint.model else speed.load_s
            assert stint.begin >= free_at - CLOSE
            assert stint.loaded - stint.begin == pytest.approx(load_s, abs=CLOSE)
            lost_s = stint.end - stint.loaded - stint.images * speed.image_s
            # Another node was faster with its last pass.
            assert -1e-3 <= lost_s <= speed.pass_size * speed.image_s
            free_at, loaded = stint.end, stint.model


CARD = {"m": Speed(10.0, 30.0, 2)}


def test_the_same_fleet_and_work_take_the_same_course() -> None:
    cards = {"a": CARD, "b": {"m": Speed(70.0, 30.0)}}
    first, again = (course(backlog(cards, "aabbbab", {"m": 200})) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("images", [40, 1000])
def test_the_more_cards_the_sooner_the_end(images: int) -> None:
    ends = [makespan(course(backlog({"a": CARD}, "a" * cards, {"m": images}))) for cards in (1, 2, 4, 8)]
    assert ends == sorted(ends, reverse=True)
    assert ends[-1] < ends[0] / 3


def test_a_card_that_is_much_too_slow_takes_nothing_and_delays_nothing() -> None:
    cards = {"a": CARD, "slow": {"m": Speed(5000.0, 30.0)}}
    alone = makespan(course(backlog(cards, "aa", {"m": 100})))
    stints = course(backlog(cards, ["a", "a", "slow"], {"m": 100}))
    assert {stint.node_id for stint in stints} == {"0", "1"}
    assert makespan(stints) == pytest.approx(alone, rel=0.05)


def test_many_images_of_one_model_end_close_to_the_bound() -> None:
    cards = {"a": CARD, "b": {"m": Speed(25.0, 40.0)}, "c": {"m": Speed(60.0, 60.0)}}
    made = backlog(cards, "aabbccc", {"m": 500})
    bound_s = lower_bound_s(made)
    assert makespan(course(made)) <= 1.1 * bound_s + 60


@pytest.mark.parametrize(
    ("fleet", "images", "loaded", "bound_s"),
    [
        # Loads for 30 s, then 10 s an image.
        ("a", {"m": 4}, None, 70),
        ("a", {"m": 4}, "m", 40),
        ("aa", {"m": 4}, None, 50),
        # One image is not shared.
        ("aa", {"m": 1}, None, 40),
        # Two models on a node: both are loaded.
        ("b", {"m": 4, "n": 4}, None, 140),
        # Each on a node of its own.
        ("bb", {"m": 4, "n": 4}, None, 70),
        ("a", {}, None, 0),
    ],
)
def test_the_bound_is_what_loads_and_images_take_at_best(
    fleet: str, images: Mapping[str, int], loaded: str | None, bound_s: float
) -> None:
    cards = {"a": CARD, "b": {"m": Speed(10.0, 30.0), "n": Speed(10.0, 30.0)}}
    found = lower_bound_s(backlog(cards, fleet, images, loaded))
    assert bound_s * 0.7 <= found <= bound_s
    if len(images) == 1:
        assert found == pytest.approx(bound_s, rel=0.01)


def test_what_no_node_takes_still_waits_at_the_end() -> None:
    made = backlog({"a": CARD}, "a", {"m": 3, "n": 2})
    assert sum(stint.images for stint in course(made)) == 3
    assert made.lines == {Line("j", "n", 8): 2}


@pytest.mark.parametrize(("image_s", "load_s"), [(0.1, 1.0), (0.15, 2.0), (0.4, 0.0)])
def test_equal_nodes_share_a_job_that_takes_seconds(image_s: float, load_s: float) -> None:
    made = backlog({"a": {"m": Speed(image_s, load_s, 8)}}, "aa", {"m": 72})
    images: Counter[str] = Counter()
    for stint in course(made):
        images[stint.node_id] += stint.images
    assert sum(images.values()) == 72
    # They differ by two passes at the most.
    assert abs(images["0"] - images["1"]) <= 2 * 8


@pytest.mark.parametrize("fleet", ["a", "aaa"])
def test_models_and_loras_that_alternate_are_loaded_once_more_at_the_most(fleet: str) -> None:
    """300 images of three models, each with two LoRAs."""
    made = backlog({"a": dict.fromkeys("mno", Speed(4.0, 30.0, 4))}, fleet, {})
    for number, model in enumerate("mno" * 2):
        lora = f"{model}{number // 3}"
        work = WorkSample(model, (lora,), 1.0, 1, SHOT._replace(model=model))
        made.apply(ShotsWaiting({Line("j", lora, 8): 50}, {lora: work}))
    for node in [made.known(str(number)) for number in range(len(fleet))]:
        loras = frozenset(f"{model}{number}" for model in "mno" for number in range(2))
        made.apply(NodesChanged({node.id: replace(node, loras=loras)}))

    loads: Counter[str] = Counter()
    loaded: dict[str, str] = {}
    for stint in course(made):
        loads[stint.model] += loaded.get(stint.node_id) != stint.model
        loaded[stint.node_id] = stint.model
    # One load of each is the least.
    assert loads.keys() == {*"mno"}
    assert all(number <= 2 for number in loads.values()), loads

"""The horizon: when jobs end, which models nodes hold until then, and who may take the last shots."""

from __future__ import annotations

from math import floor, inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.scheduling.horizon import (
    FRESH_S,
    Horizon,
    NodeKind,
    Patience,
    Seat,
    WaitingWork,
    finish,
    frugal,
    look_ahead,
    share_models,
)

CARD = NodeKind("card", None)


def seat(
    node_id: str = "a",
    image_s: float = 10.0,
    *,
    free_at: float = 0.0,
    load_s: float = 0.0,
    kind: NodeKind = CARD,
    joules: float | None = None,
) -> Seat:
    return Seat(node_id, kind, free_at, load_s, image_s, joules)


def waiting(*seats: Seat, job: str = "j", model: str = "m", images: int = 10) -> WaitingWork:
    return WaitingWork(job, model, images, seats)


seconds = st.floats(0, 1000)
seats = st.builds(
    seat,
    st.uuids().map(str),
    st.floats(0.01, 1000),
    free_at=seconds,
    load_s=seconds,
    kind=st.builds(NodeKind, st.sampled_from("xyz"), st.sampled_from(["m", "n", None])),
    joules=st.none() | st.floats(1, 1000),
)
works = st.lists(
    st.builds(
        lambda job, model, images, crew: WaitingWork(job, model, images, tuple(crew)),
        st.sampled_from("jkl"),
        st.sampled_from("mno"),
        st.integers(1, 5000),
        st.lists(seats, min_size=1, max_size=5),
    ),
    unique_by=lambda work: (work.job_id, work.model),
    min_size=1,
    max_size=5,
)


def test_a_node_alone_ends_after_its_batch_the_load_and_its_images() -> None:
    end = finish(100.0, [seat(free_at=130.0, load_s=20.0)], 5)
    assert end == pytest.approx(200.0, rel=0.01)


def test_nodes_without_seats_never_finish() -> None:
    assert finish(0.0, [], 1) == inf


@given(st.lists(seats, min_size=1, max_size=8), st.integers(1, 5000))
def test_by_its_end_the_nodes_can_have_made_all_images_and_not_long_before(
    crew: list[Seat], images: int
) -> None:
    def made_by(end: float) -> int:
        return sum(max(0, floor((end - one.free_at - one.load_s) / one.image_s)) for one in crew)

    end = finish(0.0, crew, images)
    assert made_by(end * (1 + 1e-9)) >= images
    assert made_by(end * 0.998) < images


@given(st.lists(seats, min_size=1, max_size=8), seats, st.integers(1, 5000))
def test_another_node_never_makes_it_later(crew: list[Seat], more: Seat, images: int) -> None:
    assert finish(0.0, [*crew, more], images) <= finish(0.0, crew, images) * 1.002


@settings(max_examples=40)
@given(works, st.randoms(use_true_random=False))
def test_no_order_of_jobs_or_nodes_changes_a_horizon(found: list[WaitingWork], chance: object) -> None:
    shuffled = [work._replace(seats=tuple(reversed(work.seats))) for work in reversed(found)]
    one, other = look_ahead(0.0, found), look_ahead(0.0, shuffled)
    assert one.ends == pytest.approx(other.ends, rel=0.01)
    assert one.useful == other.useful
    assert one.wasteful == other.wasteful


@settings(max_examples=40)
@given(works)
def test_every_job_can_be_taken_by_someone_before_its_end(found: list[WaitingWork]) -> None:
    horizon = look_ahead(0.0, found)
    for work in found:
        kept = work.without(work.wasteful).seats
        earliest = min(one.free_at + one.load_s + one.image_s for one in kept)
        assert earliest <= horizon.ends[work.job_id] * 1.002


def test_a_job_that_no_node_takes_has_no_end() -> None:
    assert look_ahead(0.0, [waiting()]).ends == {"j": inf}


def test_a_job_that_is_open_to_all_has_no_end() -> None:
    assert look_ahead(0.0, [waiting(seat())], {"j"}).ends == {"j": inf}


def test_free_nodes_that_can_finish_an_image_in_time_are_useful() -> None:
    crew = seat("fast", 10.0), seat("slow", 500.0), seat("busy", 10.0, free_at=5.0)
    assert look_ahead(0.0, [waiting(*crew)]).useful == {"fast"}


def test_each_kind_of_node_holds_the_model_that_it_renders_comparatively_faster() -> None:
    old, new = NodeKind("old", None), NodeKind("new", None)
    large = [seat("o", 400.0, kind=old, load_s=10), seat("n", 10.0, kind=new, load_s=10)]
    small = [seat("o", 4.0, kind=old, load_s=10), seat("n", 2.0, kind=new, load_s=10)]
    found = [waiting(*large, model="large", images=20), waiting(*small, model="small", images=50)]

    end, shares = share_models(0.0, found)

    assert end == pytest.approx(210.0, rel=0.1)
    assert max(("large", "small"), key=lambda model: shares[new, model]) == "large"
    assert max(("large", "small"), key=lambda model: shares.get((old, model), 0.0)) == "small"


def test_a_node_keeps_a_loaded_model_that_has_enough_work() -> None:
    kinds = [NodeKind("card", "m"), NodeKind("card", "n")]
    crews = {
        model: [
            seat(kind.loaded or "", kind=kind, load_s=0.0 if kind.loaded == model else 60.0) for kind in kinds
        ]
        for model in "mn"
    }
    _, shares = share_models(0.0, [waiting(*crew, model=model) for model, crew in crews.items()])
    for kind in kinds:
        assert max("mn", key=lambda model: shares.get((kind, model), 0.0)) == kind.loaded


def test_what_a_node_takes_is_no_more_a_share_of_the_others() -> None:
    horizon = Horizon(at=50.0, limits={"j": 200.0, "open": inf}, shares={(CARD, "m"): 500.0})
    horizon.give(CARD, "m", now=50.0)
    assert horizon.outlook(50.0, CARD).shares == {"m": 350.0}
    assert horizon.outlook(50.0, NodeKind("card", "m")).shares == {}


def test_a_horizon_counts_as_long_as_it_is_fresh() -> None:
    horizon = look_ahead(100.0, [waiting(seat(), images=1)])
    assert horizon.outlook(100.0 + FRESH_S, CARD).span_s("j") < inf
    assert horizon.outlook(100.1 + FRESH_S, CARD).span_s("j") == inf
    assert horizon.outlook(99.0, CARD).span_s("j") == inf, "the clock was set back"


def test_the_common_end_is_that_of_all_work_of_at_least_the_same_priority() -> None:
    some = [
        waiting(seat(), job=str(priority), images=10)._replace(priority=priority) for priority in (10, 50, 90)
    ]
    horizon = look_ahead(0.0, some)
    assert horizon.ends == pytest.approx({"10": 100.0, "50": 100.0, "90": 100.0}, rel=0.01)
    assert horizon.limits == pytest.approx({"10": 300.0, "50": 200.0, "90": 100.0}, rel=0.01)


OLD, NEW, ODD = NodeKind("old", None), NodeKind("new", None), NodeKind("odd", None)
MIXED = (
    seat("o", 100.0, kind=OLD, joules=401.0),
    seat("n", 10.0, kind=NEW, joules=100.0),
    seat("unknown", 500.0, kind=ODD),
)


@pytest.mark.parametrize(("joules", "wasteful"), [(400.0, set()), (401.0, {"old"})])
def test_a_card_that_needs_more_than_four_times_the_energy_leaves_a_model_to_others(
    joules: float, wasteful: set[str]
) -> None:
    assert waiting(MIXED[0]._replace(joules=joules), *MIXED[1:]).wasteful == wasteful


def test_a_wasteful_card_takes_what_no_other_can() -> None:
    assert waiting(MIXED[0]).wasteful == set()
    assert waiting(MIXED[0], MIXED[2]).wasteful == set(), "nothing tells what the other one needs"


def test_a_node_that_is_slow_for_a_while_is_as_frugal_as_its_card() -> None:
    played_on = seat("p", 100.0, kind=NEW, joules=900.0)
    assert waiting(played_on, *MIXED).wasteful == {"old"}


def test_one_frugal_card_does_not_do_the_work_of_many_others() -> None:
    usual = [seat(name, 10.0, kind=OLD, joules=500.0) for name in "abc"]
    worst = seat("w", 40.0, kind=ODD, joules=900.0)
    assert waiting(seat("n", 10.0, kind=NEW, joules=100.0), worst, *usual).wasteful == {"odd"}


@settings(max_examples=25)
@given(works)
def test_some_card_is_left_for_every_work(found: list[WaitingWork]) -> None:
    assert all(work.seats for work in frugal(found)[0])


def test_the_horizon_counts_without_the_cards_that_leave_the_work_to_others() -> None:
    horizon = look_ahead(0.0, [waiting(*MIXED[:2], images=20)])
    assert horizon.ends["j"] == pytest.approx(200.0, rel=0.01)
    assert horizon.useful == {"n"}
    assert horizon.outlook(0.0, OLD).wastes("j", "m")
    assert not horizon.outlook(0.0, NEW).wastes("j", "m")


def test_a_job_may_be_for_all_cards_and_another_one_beside_it_not() -> None:
    every, few = waiting(*MIXED[:2], job="every")._replace(eco=False), waiting(*MIXED[:2], job="few")
    for found in ([every, few], [few, every]):
        old = look_ahead(0.0, found).outlook(0.0, OLD)
        assert (old.wastes("every", "m"), old.wastes("few", "m")) == (False, True)


def test_a_card_may_leave_one_model_and_take_a_lighter_one_of_the_same_job() -> None:
    light = [MIXED[0]._replace(joules=30.0), MIXED[1]._replace(joules=10.0)]
    found = [waiting(*MIXED[:2], model="heavy"), waiting(*light, model="light")]
    old = look_ahead(0.0, found).outlook(0.0, OLD)
    assert (old.wastes("j", "heavy"), old.wastes("j", "light")) == (True, False)


def test_a_job_that_is_open_to_all_is_open_to_wasteful_cards() -> None:
    horizon = look_ahead(0.0, [waiting(*MIXED)], {"j"})
    assert not horizon.outlook(0.0, OLD).wastes("j", "m")
    assert "o" in horizon.useful


def waits(patience: Patience, now: float, images: int = 10, limit: float = inf, free: str = "fast") -> bool:
    found = [waiting(seat("fast"), images=images)]
    horizon = Horizon(at=now, limits={"j": limit}, useful=frozenset({free}))
    return patience.exhausted(now, found, horizon) == set()


def test_a_job_is_left_to_a_free_node_for_a_while_only() -> None:
    patience = Patience(10.0)
    assert waits(patience, 0.0)
    assert waits(patience, 9.0)
    assert waits(patience, 9.5, images=9), "somebody takes its shots"
    assert waits(patience, 19.0, images=9)
    assert not waits(patience, 19.5, images=9)
    assert waits(patience, 20.0, images=9, free="nobody"), "the nodes that could are busy"
    assert waits(patience, 31.0, images=9), "from now on"


def test_a_job_is_left_to_busy_nodes_until_the_end_that_was_expected_of_them() -> None:
    patience = Patience(10.0)
    assert waits(patience, 0.0, limit=100.0, free="nobody")
    # They are given other work, so that the end is expected later and later; half as long again is granted.
    assert waits(patience, 149.0, limit=200.0, free="nobody")
    assert not waits(patience, 150.0, limit=201.0, free="nobody")


def test_a_clock_that_was_set_back_keeps_no_job_waiting() -> None:
    patience = Patience(10.0)
    assert waits(patience, 5000.0, limit=5100.0)
    assert waits(patience, 1000.0, limit=1100.0)
    assert not waits(patience, 1010.0, limit=1100.0)


def test_a_node_that_alone_has_a_model_loads_it() -> None:
    """Others of its card type, which lack the model, do not count for it."""
    plain, rich = NodeKind("card", "a", frozenset("a")), NodeKind("card", "a", frozenset("ab"))
    crew = [seat(str(n), 10.0, kind=plain) for n in range(20)]
    found = [
        waiting(*crew, seat("rich", 10.0, kind=rich), model="a", images=1000),
        waiting(seat("rich", 10.0, kind=rich, load_s=20.0), model="b", images=40),
    ]
    _, shares = share_models(0.0, found)
    assert shares[rich, "b"] > shares.get((rich, "a"), 0.0)

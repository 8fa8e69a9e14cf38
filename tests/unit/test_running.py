"""Batches in progress: when they end, what is taken back of them, and what idle nodes duplicate."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from coordinator.scheduling.horizon import NodeKind, Seat, WaitingWork
from coordinator.scheduling.running import (
    Copy,
    RunningBatch,
    RunningPass,
    Tail,
    duplicates,
    take_turns,
    trims,
)

BATCH_S = 120.0
CARD = NodeKind("card", None)
BATCH = RunningBatch(
    id="b", job_id="long", work_key="w", min_class=8, left=12, pass_size=2, since=100.0, image_s=10.0
)


def seat(node_id: str, image_s: float = 10.0, *, free_at: float = 0.0, load_s: float = 0.0) -> Seat:
    return Seat(node_id, CARD, free_at, load_s, image_s)


def tail(*seats: Seat, batch: str = "b", images: int = 10, end: float = 100.0, image_s: float = 10.0) -> Tail:
    return Tail(batch, images, end, image_s, {one.node_id: one for one in seats})


def late_pass(*seats: Seat, batch: str = "b", images: int = 4, end: float = 100.0) -> RunningPass:
    return RunningPass(batch, "j", images, end, {one.node_id: one for one in seats})


def short(*seats: Seat, job: str = "short", images: int = 4) -> WaitingWork:
    return WaitingWork(job, "m", images, seats)


def first_come(job: str, other: str) -> bool:
    return other == "long" != job


def test_a_batch_ends_after_the_images_that_are_left() -> None:
    assert BATCH.end(100.0) == BATCH.end(115.0) == 220.0
    assert BATCH.without(4, at=150.0).end(150.0) == 230.0
    assert replace(BATCH, image_s=None).end(100.0) is None


def test_a_pass_that_is_late_is_expected_to_be_as_late_again() -> None:
    assert BATCH.end(125.0) == 230.0
    assert replace(BATCH, left=2).end(500.0) == 880.0


@pytest.mark.parametrize(("now", "begun"), [(50, 2), (100, 2), (116, 2), (118, 4), (139, 4), (900, 4)])
def test_what_a_node_renders_or_is_about_to_begin_is_begun(now: float, begun: int) -> None:
    assert BATCH.not_begun(now) == 12 - begun
    assert BATCH.pass_end(now) == max(now, 100.0 + 10.0 * begun)


def test_an_idle_node_takes_what_it_finishes_sooner_so_that_both_end_together() -> None:
    assert trims(0.0, [tail(seat("idle"))], ["idle"], BATCH_S) == {"b": 4}
    assert trims(0.0, [tail(seat("idle", load_s=40.0))], ["idle"], BATCH_S) == {"b": 2}


def test_nothing_is_taken_back_for_a_node_that_would_end_later() -> None:
    assert trims(0.0, [tail(seat("slow", 95.0))], ["slow"], BATCH_S) == {}
    assert trims(0.0, [tail(seat("other"))], ["idle"], BATCH_S) == {}
    assert trims(0.0, [tail(seat("idle"), images=0)], ["idle"], BATCH_S) == {}


def test_nothing_is_taken_back_for_a_second_or_two() -> None:
    assert trims(0.0, [tail(seat("idle", 1.0), images=2, end=6.0, image_s=1.0)], ["idle"], BATCH_S) == {}


def test_the_batch_that_ends_last_is_helped_first_and_by_the_node_that_can_take_most() -> None:
    crew = seat("slow", 30.0), seat("fast", 5.0)
    found = trims(0.0, [tail(*crew, batch="late", end=200.0), tail(*crew, batch="soon")], ["fast"], BATCH_S)
    assert found == {"late": 10}


crews = st.lists(
    st.builds(seat, st.sampled_from("pqrstu"), st.floats(0.1, 200.0), load_s=st.floats(0.0, 60.0)),
    unique_by=lambda one: one.node_id,
)
tailed = st.lists(
    st.builds(
        lambda crew, batch, images, rest, image_s: tail(
            *crew, batch=batch, images=images, end=images * image_s + rest, image_s=image_s
        ),
        crews,
        st.sampled_from("abcdef"),
        st.integers(0, 50),
        st.floats(0.0, 300.0),
        st.floats(0.1, 100.0),
    ),
    unique_by=lambda one: one.batch_id,
)


@given(tailed, st.sets(st.sampled_from("pqrstu")))
def test_no_trim_takes_more_than_was_not_begun_or_helps_more_batches_than_there_are_idle_nodes(
    late: list[Tail], idle: set[str]
) -> None:
    found = trims(0.0, late, idle, BATCH_S)
    assert len(found) <= len(idle)
    for one in late:
        assert 0 <= found.get(one.batch_id, 0) <= one.images
    assert found == trims(0.0, reversed(late), sorted(idle, reverse=True), BATCH_S)


@given(tailed, st.sampled_from("pqrstu"))
def test_an_idle_node_ends_what_it_takes_before_the_batch_would_have_ended(
    late: list[Tail], idle: str
) -> None:
    for batch, images in trims(0.0, late, [idle], BATCH_S).items():
        (one,) = (each for each in late if each.batch_id == batch)
        mine = one.seats[idle]
        assert mine.load_s + images * mine.image_s <= one.end


PLENTY = {"j": 1000.0}


def test_an_idle_node_duplicates_a_pass_that_it_finishes_sooner() -> None:
    one = late_pass(seat("slow", 25.0, free_at=100.0), seat("idle", 5.0))
    assert duplicates(0.0, [one], ["idle"], BATCH_S, PLENTY) == {"idle": Copy("b", "j", 4)}


@pytest.mark.parametrize(
    ("idle", "allowed_s"),
    [
        pytest.param(seat("idle", 24.5), 1000.0, id="only a second or two sooner"),
        pytest.param(seat("idle", 5.0, load_s=90.0), 1000.0, id="it loads the model for too long"),
        pytest.param(seat("busy", 5.0), 1000.0, id="it is not idle"),
        pytest.param(seat("idle", 5.0), 15.0, id="duplicates have taken enough of the job's time"),
    ],
)
def test_a_pass_is_left_alone(idle: Seat, allowed_s: float) -> None:
    assert duplicates(0.0, [late_pass(idle)], ["idle"], BATCH_S, {"j": allowed_s}) == {}
    assert duplicates(0.0, [late_pass(idle)], ["idle"], BATCH_S, {}) == {}


def test_idle_nodes_share_a_pass_and_no_more_of_them_than_it_takes() -> None:
    crew = seat("p", 10.0), seat("q", 10.0), seat("r", 90.0)
    found = duplicates(0.0, [late_pass(*crew)], "pqr", BATCH_S, PLENTY)
    assert found == {"p": Copy("b", "j", 2), "q": Copy("b", "j", 2)}


def test_the_pass_that_ends_last_is_duplicated_first() -> None:
    soon, late = late_pass(seat("p", 5.0), end=80.0), late_pass(seat("p", 5.0), batch="late")
    assert duplicates(0.0, [soon, late], ["p"], BATCH_S, PLENTY) == {"p": Copy("late", "j", 4)}


passes = st.lists(
    st.builds(
        lambda crew, batch, images, end: late_pass(*crew, batch=batch, images=images, end=end),
        crews,
        st.sampled_from("abcdef"),
        st.integers(1, 12),
        st.floats(1.0, 300.0),
    ),
    unique_by=lambda one: one.batch_id,
)


@given(passes, st.sets(st.sampled_from("pqrstu")), st.floats(0.0, 500.0))
def test_duplicates_end_sooner_within_what_they_may_take_in_whatever_order(
    running: list[RunningPass], idle: set[str], allowed_s: float
) -> None:
    found = duplicates(0.0, running, idle, BATCH_S, {"j": allowed_s})
    assert found.keys() <= idle
    took_s = 0.0
    for one in running:
        mine = {node: copy.images for node, copy in found.items() if copy.batch_id == one.batch_id}
        ends = [one.seats[node].load_s + images * one.seats[node].image_s for node, images in mine.items()]
        assert sum(mine.values()) in (0, one.images)
        assert max(ends, default=0.0) <= one.end
        took_s += sum(ends)
    assert took_s <= allowed_s + 1e-6
    assert found == duplicates(0.0, reversed(running), sorted(idle), BATCH_S, {"j": allowed_s})


def test_a_short_job_that_is_next_gets_nodes_after_the_pass_in_progress() -> None:
    busy = {f"n{n}": replace(BATCH, id=f"b{n}", since=0.0, left=30) for n in range(4)}
    crew = [seat(node, free_at=300.0) for node in busy]
    turns = take_turns(0.0, [short(*crew)], busy, first_come, BATCH_S)
    assert turns.ends["short", "m"] <= 50.0
    assert set(turns.trims.values()) == {28}
    assert 1 <= len(turns.trims) <= 4


def test_a_short_job_that_nodes_are_free_for_takes_nothing_back() -> None:
    busy = {"busy": replace(BATCH, since=0.0)}
    turns = take_turns(
        0.0, [short(seat("busy", free_at=120.0), seat("free", 2.0))], busy, first_come, BATCH_S
    )
    assert turns.trims == {}


def test_a_long_job_takes_nothing_back_and_neither_does_one_whose_turn_is_later() -> None:
    busy = {"busy": replace(BATCH, since=0.0, left=30)}
    crew = seat("busy", free_at=300.0)
    assert take_turns(0.0, [short(crew, images=500)], busy, first_come, BATCH_S).trims == {}
    assert take_turns(0.0, [short(crew)], busy, lambda *_: False, BATCH_S).trims == {}


def test_two_short_jobs_do_not_count_on_the_same_node() -> None:
    works = [short(seat("one"), job=job) for job in ("a", "b")]
    ends = take_turns(0.0, works, {}, first_come, BATCH_S).ends
    assert ends["a", "m"] == pytest.approx(40.0, rel=0.01)
    assert ends["b", "m"] == pytest.approx(80.0, rel=0.01)


@given(st.integers(1, 200), st.floats(0.1, 60.0), st.integers(1, 8), st.floats(0.0, 400.0))
def test_taking_turns_never_cuts_a_pass(images: int, image_s: float, nodes: int, now: float) -> None:
    busy = {
        f"n{n}": replace(BATCH, id=f"n{n}", since=0.0, left=5 + 7 * n, pass_size=1 + n, image_s=image_s)
        for n in range(nodes)
    }
    crew = [seat(node, image_s, free_at=batch.end(now) or now) for node, batch in busy.items()]
    assume(crew)
    for batch, taken in take_turns(
        now, [short(*crew, images=images)], busy, first_come, BATCH_S
    ).trims.items():
        assert 0 < taken <= busy[batch].not_begun(now)


def test_a_large_farm_is_not_compared_with_all_its_idle_nodes() -> None:
    looks = 0

    class Seats(dict[str, Seat]):
        def __getitem__(self, node: str) -> Seat:
            nonlocal looks
            looks += 1
            return super().__getitem__(node)

    idle = [f"idle-{n}" for n in range(10)]
    too_slow = Seats({node: seat(node, 1000.0) for node in idle})
    assert trims(0.0, [Tail(f"b{n}", 10, 100.0, 10.0, too_slow) for n in range(5000)], idle, BATCH_S) == {}
    assert looks <= 1000


def test_batches_that_no_idle_node_can_take_keep_no_help_from_others() -> None:
    late = [tail(seat("other"), batch=f"b{n:03}", end=900.0) for n in range(200)]
    assert trims(0.0, [*late, tail(seat("idle"), batch="soon")], ["idle"], BATCH_S) == {"soon": 4}


def test_a_short_job_does_not_count_on_cards_that_leave_it_to_others() -> None:
    old = Seat("old", NodeKind("old", None), 0.0, 0.0, 40.0, joules=500.0)
    new = Seat("new", NodeKind("new", None), 0.0, 0.0, 10.0, joules=100.0)
    turns = take_turns(0.0, [short(old, new)], {}, first_come, BATCH_S)
    assert turns.ends["short", "m"] == pytest.approx(40.0, rel=0.01)

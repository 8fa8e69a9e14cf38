"""The planner: who is served, in which order, and how much."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.scheduling.horizon import Outlook
from coordinator.scheduling.planner import AFFINITY_BATCHES, MOST_IMAGES, Option, choose, refusal

BATCH_S = 120.0


def option(job: str = "a", work: str = "w", **fields: Any) -> Option:
    usual: dict[str, Any] = {
        "model": "m",
        "amount": 1.0,
        "owner": "farm",
        "priority": 50,
        "owner_s": 0.0,
        "service_s": 0.0,
        "submitted_at": 0.0,
        "images": 1000,
        "image_s": 1.0,
        "pass_size": 4,
        "shared": False,
        "loaded": False,
        "model_loaded": fields.get("loaded", False),
        "takers": 1,
    }
    return Option(job_id=job, work_key=work, **usual | fields)


def served(*options: Option) -> tuple[str, str]:
    choice = choose(options, batch_s=BATCH_S)
    assert choice is not None
    return choice.option.job_id, choice.option.work_key


def amount(*options: Option) -> int:
    choice = choose(options, batch_s=BATCH_S)
    assert choice is not None
    return choice.images


def test_nothing_is_chosen_from_nothing() -> None:
    assert choose([], batch_s=BATCH_S) is None


def test_priority_goes_before_the_loaded_model_and_before_fairness() -> None:
    assert served(option("a", loaded=True), option("b", priority=51, service_s=9e9)) == ("b", "w")


def test_of_equal_jobs_the_one_with_less_service_is_next() -> None:
    assert served(option("a", service_s=10), option("b", service_s=5)) == ("b", "w")


def test_of_jobs_with_equal_service_the_older_is_next() -> None:
    assert served(option("a", submitted_at=2), option("b", submitted_at=1)) == ("b", "w")


def test_the_owner_who_had_less_lately_is_next_however_many_jobs_the_other_has() -> None:
    studio = [option(job, owner="studio", owner_s=5000) for job in "abc"]
    shop = option("z", owner="shop", owner_s=4000, service_s=4000, submitted_at=9)
    assert served(*studio, shop) == ("z", "w")


def test_a_loaded_model_is_kept_until_its_owner_is_some_batches_ahead() -> None:
    ahead = AFFINITY_BATCHES * BATCH_S
    rival = option("b", owner="other")
    assert served(option("a", loaded=True, owner_s=ahead - 1), rival) == ("a", "w")
    assert served(option("a", loaded=True, owner_s=ahead + 1), rival) == ("b", "w")


def test_no_loaded_model_lets_one_job_starve_another_of_its_owner() -> None:
    first = option("a", loaded=True, service_s=AFFINITY_BATCHES * BATCH_S + 1, owner_s=0)
    assert served(first, option("b", owner_s=0)) == ("b", "w")


def test_a_loaded_model_is_kept_until_its_job_is_some_batches_ahead() -> None:
    ahead = AFFINITY_BATCHES * BATCH_S
    assert served(option("a", loaded=True, service_s=ahead - 1), option("b")) == ("a", "w")
    assert served(option("a", loaded=True, service_s=ahead + 1), option("b")) == ("b", "w")


def test_within_a_job_a_node_first_takes_what_few_others_can() -> None:
    assert served(option(work="common", takers=9, loaded=True), option(work="rare", takers=2)) == (
        "a",
        "rare",
    )


def test_within_a_job_the_loaded_model_is_kept_among_equals() -> None:
    assert served(option(work="cold"), option(work="warm", loaded=True)) == ("a", "warm")


def test_of_equals_the_longest_shots_come_first_but_not_before_what_is_loaded() -> None:
    short, long = option(work="a", amount=1.0), option(work="b", amount=9.0)
    assert served(short, long) == ("a", "b")
    assert served(long, option(work="c", loaded=True)) == ("a", "c")


def test_a_batch_is_about_as_long_as_asked_in_whole_passes() -> None:
    assert amount(option(image_s=1.0)) == 120
    assert amount(option(image_s=7.0)) == 16


def test_a_batch_is_one_pass_where_that_takes_longer_than_asked() -> None:
    assert amount(option(image_s=500.0)) == 1


@pytest.mark.parametrize(
    ("image_s", "ends_in_s", "shared", "images"),
    [
        # Of two minutes at most.
        (30.0, 1000.0, False, 4),
        (31.0, 1000.0, False, 3),
        (None, 1000.0, False, 6),
        (500.0, 1000.0, False, 1),
        # Of less while others wait for its end, and near the end of its job.
        (12.0, 1000.0, True, 4),
        (12.0, 150.0, False, 5),
        (12.0, 50.0, False, 4),
        (1.0, 1000.0, True, 8),
    ],
)
def test_a_pass_ends_soon_enough(image_s: float | None, ends_in_s: float, shared: bool, images: int) -> None:
    one = option(image_s=image_s, expected_s=20.0, pass_size=8, takers=2, shared=shared)
    choice = choose([one], batch_s=BATCH_S, outlook=outlook(ends_in_s))
    assert choice is not None
    assert choice.pass_size == images


def test_a_batch_has_an_end_however_fast_a_node_says_that_it_is() -> None:
    assert amount(option(images=100_000, image_s=1e-6)) == MOST_IMAGES


def test_an_unmeasured_node_gets_one_pass() -> None:
    assert amount(option(image_s=None)) == 4


def test_towards_the_end_a_node_takes_half_its_share() -> None:
    assert amount(option(images=80, image_s=1.0, takers=5)) == 8
    assert amount(option(images=8, image_s=1.0, takers=5)) == 4


def test_towards_the_end_a_node_that_is_alone_takes_all() -> None:
    assert amount(option(images=80, image_s=1.0, takers=1)) == 80


def test_the_whole_backlog_counts_towards_the_end_not_one_work_key_alone() -> None:
    few = option(work="few", images=20, takers=2)
    assert amount(few) == 4
    assert amount(few, option(work="many", images=1000, takers=3)) == 20


def outlook(ends_in_s: float = 1000.0, **shares: float) -> Outlook:
    return Outlook(0.0, {"a": ends_in_s}, {"a": ends_in_s}, shares)


def test_a_node_delays_a_job_only_if_it_would_be_idle_otherwise() -> None:
    ends = Outlook(0.0, {"small": 50.0, "large": 1000.0}, {"small": 1000.0, "large": 1000.0})
    small, large = option("small", image_s=300.0), option("large", image_s=300.0, service_s=9.0)
    chosen = choose([small, large], batch_s=BATCH_S, outlook=ends)
    alone = choose([small], batch_s=BATCH_S, outlook=ends)
    assert chosen is not None
    assert alone is not None
    assert (chosen.option.job_id, alone.option.job_id) == ("large", "small")


def test_a_pass_is_no_longer_than_the_rest_of_its_job() -> None:
    for image_s, expected_s in ((15.0, 15.0), (None, 15.0)):
        long = option(image_s=image_s, expected_s=expected_s, pass_size=8, takers=2)
        choice = choose([long], batch_s=BATCH_S, outlook=outlook(40.0))
        assert choice is not None
        assert choice.images == 2


def test_a_node_that_would_end_after_all_others_gets_nothing() -> None:
    slow = option(image_s=300.0, load_s=20.0)
    assert choose([slow], batch_s=BATCH_S, outlook=outlook(310.0)) is None
    assert choose([slow], batch_s=BATCH_S, outlook=outlook(320.0)) is not None


def test_a_few_seconds_are_not_late() -> None:
    slow = option(image_s=11.0)
    assert choose([slow], batch_s=BATCH_S, outlook=outlook(10.0)) is not None


def test_an_unmeasured_node_is_late_by_its_estimate_and_never_without_one() -> None:
    fresh = option(image_s=None, expected_s=300.0)
    assert choose([fresh], batch_s=BATCH_S, outlook=outlook(100.0)) is None
    assert choose([replace(fresh, expected_s=None)], batch_s=BATCH_S, outlook=outlook(100.0)) is not None


def test_a_job_that_the_horizon_does_not_know_waits_for_it() -> None:
    assert choose([option("b")], batch_s=BATCH_S, outlook=outlook()) is None
    assert choose([option("b")], batch_s=BATCH_S, outlook=Outlook(0.0)) is not None


@pytest.mark.parametrize(
    ("ends_in_s", "shared", "images"),
    [
        (1000.0, False, 480),
        (1000.0, True, 240),
        (240.0, False, 204),
        (160.0, True, 136),
        (60.0, False, 48),
        (20.0, True, 20),
    ],
)
def test_batches_get_shorter_towards_the_end_of_a_job(ends_in_s: float, shared: bool, images: int) -> None:
    choice = choose([option(takers=2, shared=shared)], batch_s=BATCH_S, outlook=outlook(ends_in_s))
    alone = choose([option(takers=1)], batch_s=BATCH_S, outlook=outlook(ends_in_s))
    assert choice is not None
    assert alone is not None
    assert (choice.images, alone.images) == (images, 120)


def test_a_node_loads_the_model_that_its_kind_should_give_most_time_to() -> None:
    some = (
        option(work="x", model="x", expected_s=10.0),
        option(work="y", model="y", expected_s=10.0, takers=9),
    )
    choice = choose(some, batch_s=BATCH_S, outlook=outlook(x=100.0, y=400.0))
    assert choice is not None
    assert choice.option.model == "y"


def test_a_node_keeps_its_model_while_its_kind_has_a_share_of_it() -> None:
    some = option(work="x", model="x", loaded=True), option(work="y", model="y")
    kept = choose(some, batch_s=BATCH_S, outlook=outlook(x=10.0, y=400.0))
    replaced = choose(some, batch_s=BATCH_S, outlook=outlook(y=400.0))
    assert kept is not None
    assert replaced is not None
    assert (kept.option.model, replaced.option.model) == ("x", "y")


def test_a_refusal_tells_the_reason_that_keeps_most_images_away() -> None:
    assert refusal("public", {}) == "lane public has no waiting work"
    said = refusal("public", {"model x is not on this node": 3, "they need 24 GB": 70})
    assert said == "73 images wait in lane public, none for this node: they need 24 GB"


options = st.builds(
    option,
    job=st.sampled_from("abc"),
    work=st.sampled_from("xyz"),
    images=st.integers(1, 10_000),
    image_s=st.none() | st.floats(0, 5000),
    pass_size=st.integers(1, 12),
    takers=st.integers(1, 80),
    shared=st.booleans(),
    loaded=st.booleans(),
    service_s=st.floats(0, 1e6),
)


@given(st.lists(options, min_size=1, max_size=9))
def test_a_choice_is_an_option_with_at_least_a_pass_and_no_more_than_waits(found: list[Option]) -> None:
    choice = choose(found, batch_s=BATCH_S)

    assert choice is not None
    assert choice.option in found
    assert choice.pass_size <= choice.option.pass_size
    assert min(choice.pass_size, choice.option.images) <= choice.images <= choice.option.images


@given(st.lists(options, min_size=1, max_size=9))
def test_a_batch_never_takes_longer_than_asked_unless_it_is_one_pass(found: list[Option]) -> None:
    choice = choose(found, batch_s=BATCH_S)

    assert choice is not None
    if choice.images > choice.pass_size:
        assert choice.option.image_s is not None
        assert choice.images * choice.option.image_s <= BATCH_S * (1 + 1e-9)


@pytest.mark.parametrize("turn", range(3))
def test_the_order_of_the_options_does_not_matter(turn: int) -> None:
    found = [option("a", service_s=3), option("b", service_s=2, takers=4), option("b", "h", takers=3)]
    assert served(*found[turn:], *found[:turn]) == ("b", "h")


def test_a_card_that_wastes_energy_on_a_model_gets_lighter_work() -> None:
    outlook = Outlook(0.0, {"a": 900.0}, {"a": 900.0}, {}, "old", {("a", "heavy"): {"old"}})
    heavy, light = option(work="h", model="heavy", loaded=True), option(work="l", model="light")
    found = choose([heavy, light], batch_s=BATCH_S, outlook=outlook)
    assert found is not None
    assert found.option is light
    assert choose([heavy], batch_s=BATCH_S, outlook=outlook) is None
    assert choose([heavy], batch_s=BATCH_S, outlook=replace(outlook, card_type="new")) is not None

"""Memory: a pass that ran out of it is halved, and what passes took corrects what is predicted."""

from __future__ import annotations

import pytest

from common.catalog import load_catalog
from common.errors import Gone
from common.fit import Fit, Seen, fit, peak_bytes, peak_limit
from common.messages import CardFacts, Lease, Measurements, RecipePace
from common.nodes import Card
from common.shot import Shot
from common.work import work_of
from coordinator.ledger import PlacedShot
from coordinator.ledger.measurements import CEILING_S
from coordinator.scheduling.placing import Placement, placing
from tests.contract.ledger.bench import Bench, Holder, card, placed, planned, work
from tests.shots import shot_of

#: Passes of the two recipes of `roomy_first`.
WIDE, NARROW = 8, 2


def roomy_first(one: Shot, on: Card, seen: Seen) -> Placement | str:
    """The roomy recipe in passes of 8, then the thrifty one in passes of 2, as far as memory lasts."""
    for recipe, most in (("roomy", WIDE), ("thrifty", NARROW)):
        images = min(most, seen.ceilings.get(recipe, most))
        if images:
            return Placement(recipe, images)
    return f"{on.name} ran out of memory with one image"


@pytest.fixture
def roomy(bench: Bench) -> Bench:
    bench.restart(place=roomy_first)
    return bench


def note_out_of_memory(node: Holder) -> tuple[str, int]:
    """Claim and run out of memory; the recipe and pass that it was with."""
    lease = node.lease()
    node.bench.close(lease, "oom")
    return lease.recipe, lease.pass_size


def test_a_pass_that_runs_out_is_halved_then_the_thriftier_recipe_is_tried_then_a_larger_class(
    roomy: Bench,
) -> None:
    roomy.submit(placed(100))
    node = roomy.join()

    met = [note_out_of_memory(node) for _ in range(6)]

    assert met == [("roomy", 8), ("roomy", 4), ("roomy", 2), ("roomy", 1), ("thrifty", 2), ("thrifty", 1)]
    refused = node.claim().nothing
    assert refused is not None
    assert "ran out of memory with one image" in refused.reason
    # Only what was in the last pass waits for a larger class; cards of another type may take the rest.
    classes = [row.min_class for row in roomy.rows_of_shots()]
    assert (classes.count(12), classes.count(8)) == (1, 99)
    assert {row.attempts for row in roomy.rows_of_shots()} == {0}


def test_one_pass_out_of_memory_leaves_the_rest_of_its_batch_unblamed(roomy: Bench) -> None:
    job = roomy.submit(placed(400)).job_id
    node = roomy.join()
    roomy.finish(node.lease(), work(1.0))
    lease = node.lease()
    assert len(lease.shots) > WIDE

    roomy.close(lease, "oom")

    assert roomy.counts(job) == {"done": WIDE, "waiting": 400 - WIDE}
    ended = [row.state for row in roomy.attempts_of(lease)]
    assert (ended.count("failed"), ended.count("released")) == (WIDE, len(lease.shots) - WIDE)
    again = node.lease()
    assert (again.recipe, again.pass_size) == ("roomy", WIDE // 2)
    roomy.finish(again, work(1.0))
    assert node.lease().pass_size == WIDE // 2


def test_what_ran_out_is_remembered_for_the_type_of_card_and_the_work_it_was(roomy: Bench) -> None:
    roomy.submit(placed(40))
    roomy.submit(placed(40, first=100, guidance=7.0), priority=60)
    note_out_of_memory(roomy.join("first"))
    roomy.restart()

    assert roomy.join("same").lease().pass_size == WIDE // 2
    assert roomy.join("larger", 12).lease().pass_size == WIDE
    roomy.ledger.jobs.prioritise(roomy.jobs()[-1].id, 90)
    assert roomy.join("third").lease().pass_size == WIDE


def test_memory_that_something_else_held_is_tried_again_a_day_later(roomy: Bench) -> None:
    roomy.submit(placed(100))
    node = roomy.join()
    note_out_of_memory(node)
    roomy.clock.now += CEILING_S + 1
    roomy.ledger.sweep()
    assert roomy.join().lease().pass_size == WIDE


def test_what_cards_have_shown_is_told_of_their_nodes_and_in_one_list(roomy: Bench) -> None:
    roomy.submit(placed(20, guidance=7.0))
    node = roomy.join()
    note_out_of_memory(node)
    (limit,) = roomy.ledger.nodes.memory()
    assert (limit.card, limit.model, limit.recipe) == ("card of 8 GB, 8 GB", "tiny", "roomy")
    assert (limit.most_images, limit.guidance) == (WIDE // 2, 7.0)
    told = " ".join(roomy.ledger.explain("node", version="1").sentences)
    assert "ran out of memory with tiny at 1000×1000, guidance 7, recipe roomy: 4 images per pass" in told

    lease = node.lease()
    _deliver_all(roomy, lease, 123)

    (peak, _) = roomy.ledger.nodes.memory()
    assert (peak.forwards, peak.peak_bytes) == (2 * len(lease.shots), 123)
    assert "ran out" not in " ".join(roomy.ledger.explain(roomy.join("large", 24).id, version="1").sentences)


SDXL = load_catalog().models["sdxl"]
CARD = Card(**card(8).model_dump())


@pytest.fixture
def real(bench: Bench) -> Bench:
    bench.restart(place=placing(load_catalog()))
    wanted = [shot_of(SDXL, seed=seed, guidance=(1.0, 7.0)[seed % 2]) for seed in range(80)]
    bench.submit([PlacedShot(planned(one), work_of(one, SDXL), 8) for one in wanted])
    return bench


def _deliver_all(bench: Bench, lease: Lease, held: int) -> None:
    """Deliver and store it in one pass, of which the card tells what it held."""
    for index in range(len(lease.shots)):
        report = bench.deliver(lease, index, peak_bytes=held, pass_size=len(lease.shots))
        bench.store(report.attempt_id)
        assert index < lease.pass_size
    bench.close(lease)


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.3])
def test_a_peak_that_was_measured_corrects_what_is_predicted_for_its_size(real: Bench, factor: float) -> None:
    node = real.join(models=("sdxl",))
    first = node.lease()
    shot = Shot.from_dict(first.shots[0].spec)
    told = fit(shot, SDXL, CARD)
    assert isinstance(told, Fit)
    predicted = peak_bytes(shot, SDXL, told.recipe, len(first.shots))
    _deliver_all(real, first, int(predicted * factor))

    lease = node.lease()
    now = Shot.from_dict(lease.shots[0].spec)
    usual = fit(now, SDXL, CARD)
    assert isinstance(usual, Fit)
    held = peak_bytes(now, SDXL, SDXL.recipe(lease.recipe), lease.pass_size) * factor
    assert held <= peak_limit(CARD) or lease.pass_size <= first.pass_size
    assert (lease.pass_size > usual.pass_size) == (factor < 1)


def test_a_larger_batch_that_ends_takes_no_more_statements(bench: Bench) -> None:
    """Of the batch's own; each of its shots is a parameter."""
    taken = []
    for number in (8, 800):
        bench.clear()
        bench.submit(placed(number))
        node = bench.join()
        bench.finish(node.lease(), work(0.001))
        lease = node.lease()
        with bench.counted_statements() as statements:
            bench.close(lease, "oom")
        taken.append(len(statements))
        assert len(lease.shots) == number - 2
    few, many = taken
    assert many <= few + 4


def measured(bench: Bench, node: Holder, *, incarnation: int = 1, **paces: float) -> None:
    told = (
        RecipePace(model="sdxl", recipe=name.replace("_", "-"), seconds=s, peak_bytes=6 << 30)
        for name, s in paces.items()
    )
    bench.ledger.nodes.measure(
        node.id, Measurements(incarnation=incarnation, paces=tuple(told)), load_catalog()
    )


@pytest.fixture
def ampere(real: Bench) -> CardFacts:
    return card(12).model_copy(update={"name": "RTX 3060", "compute_capability": (8, 6)})


def test_cards_of_a_type_take_the_recipe_that_one_of_them_measured_as_the_fastest(
    real: Bench, ampere: CardFacts
) -> None:
    first = real.join("first", models=("sdxl",), card=ampere)
    measured(real, first, fp16=0.2, fp16_small=0.15)
    real.restart()

    lease = real.join("second", models=("sdxl",), card=ampere).lease()
    assert lease.recipe == "fp16-small"
    other = ampere.model_copy(update={"name": "RTX 3060 Ti"})
    assert real.join("third", models=("sdxl",), card=other).lease().recipe == "fp16"
    views = {view.recipe: view.pace_s for view in real.ledger.nodes.memory() if view.pace_s}
    assert views == {"fp16": 0.2, "fp16-small": 0.15}
    (speed,) = (view.speeds["sdxl"] for view in real.ledger.nodes.views() if view.name == "first")
    # That of the card's usual recipe, which the estimate tells from the measured one.
    assert speed == pytest.approx(0.15, rel=0.01)
    told = " ".join(real.ledger.explain("second", version="1").sentences)
    assert "measured to take 0.15 s by fp16-small, 0.2 s by fp16 per megapixel" in told


def test_a_trial_does_not_change_the_speed_that_images_have_shown(real: Bench, ampere: CardFacts) -> None:
    node = real.join("first", models=("sdxl",), card=ampere)
    _deliver_all(real, node.lease(), 1)
    before = real.ledger.nodes.views()[0].speeds

    measured(real, node, fp16=0.2)
    assert real.ledger.nodes.views()[0].speeds == before


def test_nodes_that_are_not_the_farms_or_not_trusted_decide_for_no_card(
    real: Bench, ampere: CardFacts
) -> None:
    volunteer = real.join("first", models=("sdxl",), card=ampere, terms="volunteer")
    measured(real, volunteer, fp16=0.2)
    doubted = real.join("second", models=("sdxl",), card=ampere)
    real.ledger.nodes.quarantine("second", "black images")
    measured(real, doubted, fp16=0.2)

    assert real.ledger.nodes.memory() == []
    with pytest.raises(Gone):
        measured(real, volunteer, incarnation=2, fp16=0.2)

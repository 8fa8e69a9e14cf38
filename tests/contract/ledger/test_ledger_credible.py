"""What nodes tell of their work is believed as far as the farm saw it: in time, and in power."""

from __future__ import annotations

import pytest

from common.errors import FarmError
from common.messages import Join, Report, Spent
from coordinator.ledger.schema import attempts, batches, nodes, speeds
from coordinator.scheduling.placing import Placement
from tests.cards import card_facts
from tests.contract.ledger.bench import SHA, TIMING, Bench, Holder, Lease, card, good, placed


@pytest.fixture
def bench(bench: Bench) -> Bench:
    """Nodes and leases are as old as the test lets them become."""
    bench.ages = False
    return bench


#: No card of the class has a higher power limit than an RTX 3080, and a fifth of it is believed on top.
WATTS = 320 * 1.2
#: Thirty years at ten kilowatts.
LIE = Spent(joules=1e13, energy_method="counter", seconds={"denoise": 1e9, "upload": 1e9})


def told(bench: Bench, lease: Lease, index: int, spent: Spent, outcome: str = "delivered") -> None:
    """Report a shot, while no time passes."""
    what = {"sha256": SHA, "size": 100} if outcome == "delivered" else {"failure": "render_error"}
    one = {"token": lease.token, "shot_id": lease.shots[index].id, "outcome": outcome, "spent": spent}
    good(bench.ledger.batches.reports([(lease.batch_id, Report.model_validate(one | what))]))


def leased(bench: Bench) -> tuple[Holder, Lease]:
    bench.submit(placed(2), max_cost=5.0)
    node = bench.join()
    return node, node.lease()


@pytest.mark.parametrize("outcome", ["delivered", "failed"])
def test_no_image_takes_longer_than_its_lease_nor_more_power_than_its_card(
    bench: Bench, outcome: str
) -> None:
    _, lease = leased(bench)
    bench.clock.now += 10.0
    told(bench, lease, 0, LIE, outcome)

    row = next(row for row in bench.rows(attempts) if row.place == 0)
    assert row.denoise_s == row.upload_s == pytest.approx(11.0)
    assert row.joules == pytest.approx(11.0 * WATTS)
    assert 0 < row.cost == sum(bench.ledger.accounts.totals().cost.values()) < 0.01


def test_all_images_of_a_lease_take_no_longer_than_it_even_after_a_restart(bench: Bench) -> None:
    node = bench.join()
    bench.submit(placed(2))
    bench.finish(node.lease())
    bench.submit(placed(4, first=50))
    lease = node.lease()
    bench.clock.now += 10.0
    told(bench, lease, 0, Spent(seconds={"denoise": 6.0}))
    bench.restart()
    of_image = {"token": lease.token, "outcome": "delivered", "sha256": SHA, "size": 100, "spent": LIE}
    pass_ = [(lease.batch_id, Report(shot_id=shot.id, **of_image)) for shot in lease.shots[1:3]]
    assert not [one for one in bench.ledger.batches.reports(pass_) if isinstance(one, FarmError)]
    bench.clock.now += 10.0
    told(bench, lease, 3, LIE)

    rows = sorted(bench.attempts_of(lease), key=lambda row: row.place)
    assert [row.denoise_s for row in rows] == pytest.approx([6.0, 5.0, 0.0, 11.0])
    assert rows[2].joules == 0


def test_loading_and_lost_passes_are_charged_as_far_as_the_lease_lasted(bench: Bench) -> None:
    node, lease = leased(bench)
    bench.clock.now += 10.0
    node.beat(lease, spent=LIE)
    load = Spent(joules=1e13, energy_method="counter", seconds={"load": 1e9})
    bench.close(lease, "released", load=load, compile_s=1.0)

    (row,) = bench.rows(batches)
    assert row.load_s + row.lost_s == pytest.approx(11.0)
    assert row.load_joules + row.lost_joules <= 11.0 * WATTS * 1.001


def test_what_is_spent_after_a_lease_ends_with_the_time_that_an_image_may_take(bench: Bench) -> None:
    bench.past_the_grace()
    node, lease = leased(bench)
    bench.let_pass(TIMING.lease_s + 2 * TIMING.sweep_s)
    bench.clock.now += 30 * 86400.0
    node.beat(lease, spent=LIE)

    (row,) = bench.rows(batches)
    assert row.lost_s == pytest.approx(1.1 * (row.closed_at - row.leased_at + TIMING.hard_limit_s))


def test_a_node_is_idle_no_longer_than_it_is_there(bench: Bench) -> None:
    node = bench.join()
    for _ in range(3):
        bench.clock.now += 10.0
        node.beat(idle_s=1e9, idle_joules=1e13)

    (row,) = bench.rows(nodes)
    assert row.idle_s == pytest.approx(33.0)
    assert row.idle_joules == pytest.approx(33.0 * WATTS)


def test_declared_watts_are_those_of_such_a_card(bench: Bench) -> None:
    named = card_facts(8, watts=1e5).model_copy(update={"name": "NVIDIA GeForce GTX 1070"})
    bench.ledger.nodes.join(Join(name="known", card=named))
    bench.ledger.nodes.join(Join(name="unknown", card=card(8, watts=1e5)))
    bench.ledger.nodes.join(Join(name="upright", card=card(8, watts=170.0)))

    watts = {row.id: row.card["watts"] for row in bench.rows(nodes)}
    assert watts == {"known": pytest.approx(150 * 1.2), "unknown": pytest.approx(WATTS), "upright": 170.0}


@pytest.mark.parametrize(("pace_s", "least_s"), [(4.0, 5.0), (None, 0.001)])
def test_work_is_never_free_nor_a_node_faster_than_such_cards_can_be(
    bench: Bench, pace_s: float | None, least_s: float
) -> None:
    bench.restart(place=lambda shot, card, seen: Placement("bf16", 2, pace_s=pace_s))
    _, lease = leased(bench)
    bench.clock.now += 10.0
    told(bench, lease, 0, Spent(joules=1e-9, energy_method="counter", seconds={"denoise": 1e-9}))

    row = next(row for row in bench.rows(attempts) if row.place == 0)
    assert row.denoise_s == pytest.approx(least_s)
    assert row.cost > 0
    (speed,) = bench.rows(speeds)
    assert speed.seconds == pytest.approx(least_s / 10)


def test_the_speed_of_a_node_is_that_of_plain_images_and_its_work_is_expected_to_take_longer_than_they_do(
    bench: Bench,
) -> None:
    bench.restart(place=lambda shot, card, seen: Placement("bf16", 2, pace_s=1.0, shape=1.5))
    _, lease = leased(bench)
    bench.submit(placed(3, first=50))
    bench.clock.now += 60.0
    told(bench, lease, 0, Spent(joules=600.0, energy_method="counter", seconds={"denoise": 30.0}))

    (speed,) = bench.rows(speeds)
    assert speed.seconds == pytest.approx(30.0 / 10 / 1.5)
    survey = bench.ledger.backlog.survey()
    assert survey is not None
    (work,) = survey.works["public"]
    assert [seat.image_s for seat in work.seats] == [pytest.approx(30.0)]

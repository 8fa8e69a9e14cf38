"""Slow paths in the ledger: what reports show of a node stands in its view, and goes when it begins anew."""

from __future__ import annotations

import pytest

from common.fit import Seen
from common.messages import Spent
from common.nodes import Card
from common.shot import Shot
from common.views import SlowPathView
from coordinator.scheduling.placing import Placement
from tests.contract.ledger.bench import Bench, Holder, card, placed, work

#: Seconds of an image as estimated, and on a slow node.
ESTIMATE_S, SLOW_S = 10.0, 40.0
IMAGES = 6


def estimated(one: Shot, card: Card, seen: Seen) -> Placement | str:
    return Placement("bf16", 2, pace_s=ESTIMATE_S / 10)


@pytest.fixture
def bench(bench: Bench) -> Bench:
    """With estimates, of 10 s for each image of a megapixel."""
    bench.restart(place=estimated)
    return bench


def render(bench: Bench, node: Holder, seconds: float, *, images: int = IMAGES, **fields: float) -> None:
    first = 1000 * (1 + next(bench.numbers))
    bench.submit(placed(images, first=first))
    while bench.backlog_lines():
        bench.finish(node.lease(), work(seconds, **fields))


def slow_paths(bench: Bench, name: str = "node") -> tuple[SlowPathView, ...]:
    return next(node.slow_paths for node in bench.ledger.nodes.views() if node.id == name)


def test_a_node_at_a_quarter_of_the_rate_of_its_card_says_so_and_why(bench: Bench) -> None:
    node = bench.join(card=card(8, watts=100.0))
    node.beat(temperature_c=92.0)
    render(bench, node, SLOW_S, joules=SLOW_S * 60)

    (path,) = slow_paths(bench)
    assert (path.model, path.rate) == ("tiny", pytest.approx(0.25))
    assert path.reason == "thermal throttling is likely, because the card is at 92 °C"
    explained = bench.ledger.explain("node", version="1")
    assert (
        "It renders tiny at 25 % of the rate expected of its card: thermal throttling is likely, because the "
        "card is at 92 °C; the farm plans with the rate that it has."
    ) in explained.sentences
    assert explained.remedy == path.remedy


def test_a_slow_node_is_given_work_by_its_true_rate(bench: Bench) -> None:
    node = bench.join()
    render(bench, node, SLOW_S)
    bench.submit(placed(100, first=100))

    assert len(node.lease().shots) == 120 // SLOW_S // 2 * 2


def test_a_node_as_fast_as_estimated_and_one_that_is_not_alone_with_its_rate_are_not_slow(
    bench: Bench,
) -> None:
    fast, slow, slow_too = bench.join("fast", 24), bench.join("slow"), bench.join("slow-too")
    render(bench, fast, 1.9 * ESTIMATE_S)
    render(bench, slow, SLOW_S)
    assert slow_paths(bench, "slow")
    render(bench, slow_too, SLOW_S)

    assert [slow_paths(bench, name) for name in ("fast", "slow", "slow-too")] == [(), (), ()]


def test_no_cpu_is_slow(bench: Bench) -> None:
    cpu = card(8).model_copy(update={"backend": "cpu", "compute_capability": None})
    render(bench, bench.join(card=cpu), 100 * ESTIMATE_S)

    assert slow_paths(bench) == ()


def test_small_images_and_power_that_was_not_measured_tell_nothing(bench: Bench) -> None:
    node = bench.join(card=card(8, watts=100.0))
    bench.submit(placed(IMAGES, width=128, height=128))
    while bench.backlog_lines():
        bench.finish(node.lease(), work(SLOW_S))
    assert slow_paths(bench) == ()

    bench.submit(placed(IMAGES, first=100))
    while bench.backlog_lines():
        guessed = Spent(joules=SLOW_S * 100, energy_method="estimated", seconds={"denoise": SLOW_S})
        bench.finish(node.lease(), guessed)
    assert slow_paths(bench)[0].reason == "nothing that the node reports tells why"


def test_a_node_that_comes_back_is_judged_anew(bench: Bench) -> None:
    node = bench.join()
    render(bench, node, SLOW_S)
    assert slow_paths(bench)
    bench.ledger.nodes.leave(node.id, node.joined.incarnation)
    assert slow_paths(bench)

    again = bench.join()
    assert slow_paths(bench) == ()
    render(bench, again, ESTIMATE_S)
    assert slow_paths(bench) == ()

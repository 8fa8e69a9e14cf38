"""Fitting: a node is given only what its card, its files and its lanes can take."""

from __future__ import annotations

import pytest

from common.catalog import load_catalog
from common.fit import Fit, fit
from common.nodes import Card
from common.shot import Shot
from common.work import work_of
from coordinator.ledger import PlacedShot
from coordinator.scheduling.placing import placing
from tests.contract.ledger.bench import Bench, card, lora, placed, planned
from tests.shots import shot_of


def test_a_card_never_gets_shots_of_a_larger_class(bench: Bench) -> None:
    bench.submit(placed(4, min_class=24))
    small, large = bench.join("small", 8), bench.join("large", 24)

    refused = small.claim().nothing
    assert refused is not None
    assert "24 GB" in refused.reason
    assert large.claim().lease is not None


def test_a_shot_that_does_not_fit_this_very_card_is_not_given_to_it(bench: Bench) -> None:
    bench.submit(placed(1, min_class=8, width=4096))
    refused = bench.join(vram_gib=8).claim().nothing

    assert refused is not None
    assert "4096 pixels need 24 GB" in refused.reason


def test_a_node_gets_only_models_and_loras_that_it_holds(bench: Bench) -> None:
    bench.submit(placed(1, model="rare"))
    bench.submit(placed(1, loras=(lora("ana"),)))
    node = bench.join(models=("tiny",))
    assert node.claim().nothing is not None

    fuller = bench.join("fuller", models=("tiny",), loras=("ana",))
    assert [one.spec["loras"][0][0] for one in fuller.lease().shots] == ["ana"]


def test_a_node_gets_no_shots_for_whose_recipe_it_has_no_file(bench: Bench) -> None:
    bench.submit(placed(1))
    lacking = bench.join(missing_recipes={"tiny": ("bf16",)})
    assert bench.ledger.backlog.ticket_demand() == {}
    refused = lacking.claim().nothing
    assert refused is not None
    assert "the file for recipe bf16 of model tiny is not on this node" in refused.reason

    assert bench.join("other", missing_recipes={"tiny": ("fp8",), "another": ("bf16",)}).claim().lease


def test_a_lane_of_its_own_is_served_by_its_nodes_only(bench: Bench) -> None:
    bench.submit(placed(1), lane="ana")
    assert bench.join().claim().nothing is not None

    own = bench.join("own", lanes=("public", "ana"))
    assert own.claim(lane="public").nothing is not None
    assert own.claim(lane="ana").lease is not None


@pytest.mark.parametrize("order", [(1.0, 7.0), (7.0, 1.0)], ids=["guided-last", "guided-first"])
def test_a_pass_fits_the_card_whatever_guidance_its_shots_ask_for(
    bench: Bench, order: tuple[float, float]
) -> None:
    """Guidance doubles what denoising holds; other shots of its job are no measure of that."""
    catalog = load_catalog()
    bench.restart(place=placing(catalog))
    model = catalog.models["sdxl"]
    wanted = [shot_of(model, seed=seed, guidance=order[seed > 0]) for seed in range(39)]
    bench.submit([PlacedShot(planned(one), work_of(one, model), 8) for one in wanted])
    node = bench.join(models=("sdxl",))
    while lease := node.claim().lease:
        for ordered in lease.shots:
            shot = Shot.from_dict(ordered.spec)
            found = fit(shot, model, Card(**card(8).model_dump()))
            assert isinstance(found, Fit)
            assert lease.pass_size <= found.pass_size
        bench.finish(lease)
    assert bench.ledger.backlog.waiting() == {}

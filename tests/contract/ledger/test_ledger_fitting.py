"""Fitting: a node is given only what its card, its files and its lanes can take."""

from __future__ import annotations

from tests.contract.ledger.bench import Bench, lora, placed


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
    assert bench.ledger.warrants() == {}
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

"""Texts that nodes encode ahead: one node for each, until the store has it or their batch ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from coordinator.texts_ahead import TextsAhead


def only(*batches: str) -> Callable[[Mapping[str, str]], set[str]]:
    """These batches run: b-1 on n-1."""
    return lambda nodes: {one for one in batches if nodes.get(one) == one.replace("b", "n")}


def test_a_text_is_given_to_one_node_as_long_as_its_batch_runs() -> None:
    now = 0.0
    ahead = TextsAhead(monotonic=lambda: now)
    ahead.give("b-1", "n-1", {"a": {"k1", "k0"}, "b": {"k2"}})
    ahead.give("b-2", "n-2", {"c": {"k3"}})
    both = only("b-1", "b-2")
    assert ahead.elsewhere("b-2", both) == {"a", "b"}
    # It may ask again, such as after its engine died.
    assert ahead.elsewhere("b-1", both) == {"c"}
    assert ahead.keys("b-1") == {"k0", "k1", "k2"}
    assert ahead.keys("b-3") == set()
    # Loading a large model takes long.
    now = 3600.0
    assert ahead.elsewhere("b-3", both) == {"a", "b", "c"}
    assert ahead.keys("b-1") == {"k0", "k1", "k2"}
    assert ahead.elsewhere("b-3", only("b-2")) == {"c"}
    assert ahead.elsewhere("b-2", only("b-2")) == set()


def test_what_the_last_upload_stored_is_reported_after_the_batch() -> None:
    now = 0.0
    ahead = TextsAhead(monotonic=lambda: now)
    for batch_id, node_id in (("b-1", "n-1"), ("b-2", "n-2")):
        ahead.give(batch_id, node_id, {"a": {"k1"}})
    now = 1000.0
    assert ahead.elsewhere("b-3", only()) == set()
    now = 1059.0
    assert ahead.elsewhere("b-3", only()) == set()
    assert ahead.stored("b-1", {"k1"}) == ["a"]
    now = 1061.0
    assert ahead.elsewhere("b-3", only()) == set()
    assert ahead.stored("b-2", {"k1"}) == []


def test_shots_count_as_embedded_when_all_of_their_texts_are_stored() -> None:
    ahead = TextsAhead()
    ahead.give("b-1", "n-1", {"a": {"k1", "k0"}, "b": {"k2"}, "shared": set()})
    assert ahead.stored("b-2", {"k1"}) == []
    assert ahead.stored("b-1", {"k0", "k2", "k9"}) == ["b", "shared"]
    assert ahead.stored("b-1", {"k1"}) == []
    assert ahead.elsewhere("b-2", only("b-1")) == set()

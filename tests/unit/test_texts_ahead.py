"""Texts that nodes encode ahead: one node for each, until the store has it or a node took too long."""

from __future__ import annotations

from coordinator.texts_ahead import TextsAhead


def test_a_text_is_given_to_one_node_for_a_while() -> None:
    now = 0.0
    ahead = TextsAhead(monotonic=lambda: now)
    ahead.give("b-1", {"a": {"k1", "k0"}, "b": {"k2"}})
    ahead.give("b-2", {"c": {"k3"}})
    assert ahead.elsewhere("b-2") == {"a", "b"}
    # It may ask again, such as after its engine died.
    assert ahead.elsewhere("b-1") == {"c"}
    assert ahead.keys("b-1") == {"k0", "k1", "k2"}
    assert ahead.keys("b-3") == set()
    now = 599.0
    assert ahead.elsewhere("b-3") == {"a", "b", "c"}
    now = 601.0
    assert ahead.elsewhere("b-3") == set()


def test_shots_count_as_embedded_when_all_of_their_texts_are_stored() -> None:
    ahead = TextsAhead()
    ahead.give("b-1", {"a": {"k1", "k0"}, "b": {"k2"}, "shared": set()})
    assert ahead.stored("b-2", {"k1"}) == []
    assert ahead.stored("b-1", {"k0", "k2", "k9"}) == ["b", "shared"]
    assert ahead.stored("b-1", {"k1"}) == []
    assert ahead.elsewhere("b-2") == set()

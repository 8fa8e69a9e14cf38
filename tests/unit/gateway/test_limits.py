"""An address and a node have their share of the gateway, and nobody takes that of others."""

from __future__ import annotations

import pytest

from common.errors import TooMany
from coordinator.gateway.limits import AtOnce, CallLimits, Places, Rates, network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_a_household_counts_as_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


def test_an_address_takes_no_more_connections_than_its_own() -> None:
    places = Places(CallLimits(connections=4, connections_of_address=2))
    assert [places.enter("a") for _ in range(3)] == [True, True, False]
    assert [places.enter("b") for _ in range(3)] == [True, True, False]
    assert not places.enter("c"), "all are taken"
    places.leave("a")
    assert places.enter("c")
    assert not places.enter("a")


def test_connections_of_a_proxy_are_limited_as_all_are() -> None:
    places = Places(CallLimits(connections=4, connections_of_address=2))
    assert [places.enter("") for _ in range(5)] == [True, True, True, True, False]


def test_a_rate_is_refilled_in_time_and_is_of_one_caller() -> None:
    rates = Rates(3.0, 60.0, "calls")
    for _ in range(3):
        rates.take("a", 0.0)
    with pytest.raises(TooMany, match="too many calls") as told:
        rates.take("a", 0.0)
    assert told.value.retry_after_s == 20.0
    rates.take("b", 0.0)
    rates.take("a", 20.0)
    with pytest.raises(TooMany):
        rates.take("a", 20.0)


def test_those_that_did_not_call_for_longest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.gateway.limits._REMEMBERED", 2)
    rates = Rates(1.0, 60.0, "calls")
    for name in ("a", "b", "c"):
        rates.take(name, 0.0)
    rates.take("a", 0.0)
    with pytest.raises(TooMany):
        rates.take("c", 0.0)


def test_a_node_has_so_many_calls_at_once() -> None:
    at_once = AtOnce(1)
    again = at_once.call("a")
    with (
        at_once.call("a"),
        at_once.call("b"),
        pytest.raises(TooMany, match="node a has 1 calls open"),
        again,
    ):
        pass
    with at_once.call("a"):
        pass

"""Money, against the formula worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from common.cost import Cost, attempt_cost, estimated_joules, idle_cost
from common.nodes import Terms
from common.settings import CardPrice, Money, NodeMoney, Tariff

RATES = Money(
    tariff_per_kwh=Decimal("0.30"),
    host_watts=50,
    card_per_hour={8: Decimal("0.01"), 24: Decimal("0.06")},
    rent_per_hour={24: Decimal("0.22")},
    card_watts={8: 150, 24: 350},
)


def cost(terms: Terms, *, seconds: float = 120.0, joules: float = 18_000.0, vram_class: int = 24) -> Cost:
    return attempt_cost(seconds=seconds, joules=joules, vram_class=vram_class, terms=terms, rates=RATES)


def test_an_owned_card_costs_electricity_of_card_and_host_and_its_hours() -> None:
    owned = cost("owned")
    assert float(owned.electricity) == pytest.approx((18_000 + 50 * 120) / 3.6e6 * 0.30)
    assert float(owned.hours) == pytest.approx(120 / 3600 * 0.06)
    assert float(owned.farm) == pytest.approx(0.002 + 0.002)
    assert owned.volunteered == 0


def test_a_rented_card_costs_its_rent_which_includes_electricity() -> None:
    rented = cost("rented")
    assert float(rented.farm) == pytest.approx(120 / 3600 * 0.22)
    assert rented.electricity == rented.volunteered == 0


def test_a_volunteer_pays_the_electricity_and_the_farm_nothing() -> None:
    volunteer = cost("volunteer")
    assert volunteer.farm == 0
    assert volunteer.volunteered == pytest.approx(cost("owned").electricity)


def test_a_class_without_a_rate_has_no_hours_to_pay() -> None:
    assert cost("owned", vram_class=32).hours == 0
    assert cost("rented", vram_class=8).farm == 0


def test_idling_costs_the_farm_its_own_cards_and_volunteers_nothing() -> None:
    def idle(terms: Terms) -> Cost:
        return idle_cost(seconds=3600, joules=36_000, vram_class=8, terms=terms, rates=RATES)

    assert float(idle("owned").farm) == pytest.approx((36_000 + 180_000) / 3.6e6 * 0.30 + 0.01)
    assert idle("volunteer") == Cost()


def test_what_nothing_measures_is_estimated_from_declared_or_assumed_watts() -> None:
    assert estimated_joules(10, 8, RATES) == 1500
    assert estimated_joules(10, 8, RATES, declared_watts=120.0) == 1200
    assert estimated_joules(10, 8, RATES, declared_watts=0.0) == 0
    assert estimated_joules(10, 6, RATES) == 0


ATTEMPTS = st.lists(
    st.tuples(st.floats(0, 1e5), st.floats(0, 1e8), st.sampled_from([8, 24])), min_size=1, max_size=200
)


@given(ATTEMPTS)
def test_a_sum_is_that_of_exact_arithmetic_to_fifteen_digits(
    attempts: list[tuple[float, float, int]],
) -> None:
    farm = sum(cost("owned", seconds=s, joules=j, vram_class=c).farm for s, j, c in attempts)
    exact = sum(
        (Decimal(j) + 50 * Decimal(s)) / 3_600_000 * Decimal("0.30")
        + Decimal(s) * {8: Decimal("0.01"), 24: Decimal("0.06")}[c] / 3600
        for s, j, c in attempts
    )
    assert float(farm) == pytest.approx(float(exact), rel=1e-15, abs=1e-18)


def test_prices_are_exact_and_add_up_to_the_digit() -> None:
    hour = cost("rented", seconds=3600.0).farm
    assert hour == Decimal("0.22")
    assert sum(hour for _ in range(1_000_000)) == 220_000


BERLIN = Money(
    tariff_per_kwh=Decimal("0.4"),
    tariffs=(Tariff(from_hour=22, to_hour=6, per_kwh=Decimal("0.1")),),
    time_zone="Europe/Berlin",
)


@pytest.mark.parametrize(
    ("utc", "price"),
    [
        ("2026-01-15T20:59:59", "0.4"),
        ("2026-01-15T21:00:00", "0.1"),  # 22:00 in winter
        ("2026-07-15T19:59:59", "0.4"),
        ("2026-07-15T20:00:00", "0.1"),  # 22:00 in summer
        ("2026-01-16T04:59:59", "0.1"),
        ("2026-01-16T05:00:00", "0.4"),
    ],
)
def test_electricity_has_the_price_of_the_hour_where_the_farm_is(utc: str, price: str) -> None:
    at = datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp()
    assert BERLIN.tariff(at) == Decimal(price)


def test_work_to_come_is_reckoned_with_the_mean_of_a_day() -> None:
    assert BERLIN.tariff() == (8 * Decimal("0.1") + 16 * Decimal("0.4")) / 24
    assert RATES.tariff() == RATES.tariff(1e9) == Decimal("0.30")


def test_a_card_costs_what_it_loses_in_its_life() -> None:
    bought = CardPrice(price=Decimal(1600), resale=Decimal(600), life_hours=20_000)
    rates = RATES.model_copy(update={"card_prices": {24: bought}})
    assert rates.card_hour(24) == Decimal("0.05")
    assert rates.card_hour(8) == Decimal("0.01")


def test_a_node_may_have_rates_of_its_own() -> None:
    own = NodeMoney(tariff_per_kwh=Decimal("0.1"), host_watts=0, per_hour=Decimal(1))
    rates = BERLIN.model_copy(update={"nodes": {"attic": own}})
    assert rates.tariff() == BERLIN.tariff()
    attic = rates.of_node("attic")
    assert attic.tariff() == Decimal("0.1")
    night = NodeMoney(tariffs=(Tariff(from_hour=0, to_hour=12, per_kwh=Decimal("0.2")),))
    cellar = BERLIN.model_copy(update={"nodes": {"cellar": night}}).of_node("cellar")
    assert cellar.tariff() == (Decimal("0.2") + Decimal("0.4")) / 2
    assert (attic.tariff(0), attic.host_watts, attic.card_hour(24)) == (Decimal("0.1"), 0, 1)
    assert rates.of_node("cellar") is rates


def test_an_image_costs_its_place_in_the_store_and_its_delivery() -> None:
    rates = Money(storage_per_gb_month=Decimal("0.02"), storage_months=10, traffic_per_gb=Decimal("0.1"))
    assert rates.keeping(5 * 10**6) == Decimal("0.0015")
    assert Money().keeping(10**9) == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"time_zone": "Berlin"}, "unknown time zone `Berlin`"),
        (
            {"card_prices": {8: {"price": 1, "resale": 2, "life_hours": 1}}},
            "`resale` must not exceed `price`",
        ),
    ],
)
def test_prices_that_make_no_sense_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Money.model_validate(given)

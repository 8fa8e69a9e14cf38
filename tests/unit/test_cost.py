"""Money, against the formula worked out by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.cost import Cost, attempt_cost, estimated_joules, idle_cost
from common.nodes import Terms
from common.settings import Money

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

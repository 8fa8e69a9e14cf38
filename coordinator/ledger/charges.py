"""What work cost, as the rows keep it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.cost import Cost, attempt_cost, estimated_joules, idle_cost
from common.errors import Invalid
from common.messages import Spent
from common.nodes import Card, Terms
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import ATTEMPT_PHASES

#: Phases in which the card works for nobody else. Saving and uploading run beside the next pass.
CARD_PHASES = ("load", "encode", "denoise", "decode")


def card_seconds(seconds: Mapping[str, float]) -> float:
    return sum(seconds.get(phase, 0.0) for phase in CARD_PHASES)


def phase_columns(spent: Spent) -> dict[str, float]:
    """Seconds of an attempt by column. Raises Invalid for a phase that attempts do not have."""
    unknown = spent.seconds.keys() - set(ATTEMPT_PHASES)
    if unknown:
        raise Invalid(f"seconds of {', '.join(sorted(unknown))}: an attempt has {', '.join(ATTEMPT_PHASES)}")
    return {f"{phase}_s": spent.seconds.get(phase, 0.0) for phase in ATTEMPT_PHASES}


def spent_columns(spent: Spent) -> dict[str, Any]:
    """What a lease spent so far, as its batch keeps it."""
    return {
        "spent_s": spent.seconds,
        "spent_joules": spent.joules,
        "spent_method": spent.energy_method,
    }


def work_charge(spent: Spent, card: Card, terms: Terms, rules: Rules) -> dict[str, float]:
    """`joules`, `cost` and `volunteered` of work on a card."""
    seconds = card_seconds(spent.seconds)
    joules = spent.joules
    if not joules and spent.energy_method == "estimated":
        joules = estimated_joules(seconds, card.vram_class, rules.rates, card.watts)
    cost = attempt_cost(
        seconds=seconds, joules=joules, vram_class=card.vram_class, terms=terms, rates=rules.rates
    )
    return _columns(joules, cost)


def idle_charge(seconds: float, joules: float, card: Card, terms: Terms, rules: Rules) -> dict[str, float]:
    """The same of a node without a lease."""
    cost = idle_cost(
        seconds=seconds, joules=joules, vram_class=card.vram_class, terms=terms, rates=rules.rates
    )
    return _columns(joules, cost)


def _columns(joules: float, cost: Cost) -> dict[str, float]:
    """Rows and sums over them are floats: a million attempts keep nine digits, and none is an invoice."""
    return {"joules": joules, "cost": float(cost.farm), "volunteered": float(cost.volunteered)}


def prefixed(prefix: str, columns: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}{name}": value for name, value in columns.items()}

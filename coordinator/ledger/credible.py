"""Credible figures: what nodes report of their work, limited by what the farm saw of it.

A node cannot have worked on a batch for longer than it had the lease, nor can its card draw more than it is
made for. What exceeds that is cut, and not refused: an upright node with a wrong clock would lose its images.
"""

from __future__ import annotations

from common.chips import watt_limit
from common.messages import Spent
from common.nodes import Card
from coordinator.ledger.costs import CARD_PHASES, card_seconds

#: What a node may report of the time that passed, and of the power of its card: clocks differ, and a card
#: exceeds its power limit for moments.
_CLOCKS, _PEAKS = 1.1, 1.2
#: Share of the expected time, and seconds, that an image takes at the least: much less spoils measurements.
_QUICKEST, _LEAST_S = 1 / 8, 0.001


def passed(since: float, until: float) -> float:
    """Seconds that a node may report of the time between two moments in seconds since 1970."""
    return _CLOCKS * max(0.0, until - since)


def credible(spent: Spent, card: Card, passed_s: float, told_s: float = 0.0) -> Spent:
    """What is believed of the work of a lease that has lasted for `passed_s` (see `passed`).

    `told_s` of these seconds the card worked on what was reported before.
    """
    working_s = card_seconds(spent.seconds)
    believed_s = min(working_s, max(0.0, passed_s - told_s))
    joules = min(spent.joules, most_joules(card, believed_s))
    longest_s = max(spent.seconds.values(), default=0.0)
    if believed_s == working_s and joules == spent.joules and longest_s <= passed_s:
        return spent
    share = believed_s / working_s if working_s else 1.0
    seconds = {
        phase: share * seconds if phase in CARD_PHASES else min(seconds, passed_s)
        for phase, seconds in spent.seconds.items()
    }
    return spent.model_copy(update={"seconds": seconds, "joules": joules})


def most_joules(card: Card, seconds: float) -> float:
    """The energy that a card uses within so many seconds at the most."""
    return _PEAKS * watt_limit(card) * seconds


def least_seconds(expected_s: float | None) -> float:
    """Seconds of an image that are believed at the least; `expected_s` is an estimate, None without one."""
    return max(_LEAST_S, _QUICKEST * (expected_s or 0.0))

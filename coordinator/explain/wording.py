"""Phrases shared by all explanations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from common.nodes import RESUMES_BY_ITSELF
from common.states import NodeState
from common.units import counted, format_money, format_seconds
from common.views import MisfitView, SlowPathView
from coordinator.explain.facts import Budget, Check, Hand, NodeFacts

#: Hex digits of a shot ID shown to users.
SHORT = 12
#: Maximum names in a list; the rest is counted.
_NAMES = 3
#: Maximum reasons shown; the rest is summed up.
_REASONS = 3

Reason = TypeVar("Reason")


class Answer(NamedTuple):
    """A sentence without a full stop, and a remedy."""

    sentence: str
    remedy: str = ""
    #: Whether it resolves without action by a person.
    goes_on: bool = False


def capitalised(clause: str) -> str:
    """
    >>> capitalised("job j-1 is paused by Ana")
    'Job j-1 is paused by Ana'
    """
    return clause[:1].upper() + clause[1:]


def listed(names: Sequence[str]) -> str:
    """
    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    rest = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def a_few(
    reasons: Sequence[tuple[Reason, int]], summed_up: Callable[[str], Reason]
) -> Iterator[tuple[Reason, int]]:
    """The first reasons with their numbers of shots, and one entry that sums up all others.

    >>> list(a_few([("black", 5), ("flat", 3), ("torn", 2), ("odd", 1), ("blue", 1)], str))
    [('black', 5), ('flat', 3), ('torn', 2), ('2 more reasons', 2)]
    """
    yield from reasons[:_REASONS]
    if rest := reasons[_REASONS:]:
        yield summed_up(counted(len(rest), "more reason")), sum(shots for _, shots in rest)


def misfits(shots: Mapping[str, int]) -> tuple[MisfitView, ...]:
    """The most frequent reasons why shots fit no node."""
    ranked = Counter(shots).most_common()
    return tuple(MisfitView(reason=reason, shots=number) for reason, number in a_few(ranked, str))


def in_hand(hand: Hand) -> str:
    said = f"in batch {hand.batch_id}, for {format_seconds(max(hand.since_s, 0.0))} so far"
    if hand.duplicates is None:
        return said
    return f"{said}, as a duplicate of a part of batch {hand.duplicates}, whose node is slower"


def checking(check: Check | None) -> Answer:
    """The progress of the check of delivered images.

    >>> checking(Check(waited_s=95, again_s=30)).sentence
    'is waiting for ingest, which has not responded for 1 min 35 s (retrying every 30 s)'
    """
    if check is not None and check.trouble:
        return Answer(
            f"is waiting for the store; ingest reports: {check.trouble}",
            "check that the store is running; ingest then continues",
        )
    if check is not None and check.waited_s > check.again_s:
        again, waited = format_seconds(check.again_s), format_seconds(check.waited_s)
        return Answer(
            f"is waiting for ingest, which has not responded for {waited} (retrying every {again})",
            "check that `python -m coordinator.ingest` is running, and read its log",
        )
    return Answer("is in progress", goes_on=True)


def spent(budget: Budget) -> str:
    """
    >>> spent(Budget(limit=1.0, cost=1.25, reserved=0.0, currency="EUR"))
    'has spent 1.25 EUR of its 1.00 EUR limit, 0.250 EUR over'
    """
    money = [format_money(amount, budget.currency) for amount in (budget.cost, budget.limit)]
    words = f"has spent {money[0]} of its {money[1]} limit"
    if budget.cost > budget.limit:
        return f"{words}, {format_money(budget.cost - budget.limit, budget.currency)} over"
    if budget.reserved > 0:
        return f"{words}, with {format_money(budget.reserved, budget.currency)} reserved for running work"
    return words


def slowly(path: SlowPathView) -> str:
    """
    >>> hot = "thermal throttling is likely, because the card is at 91 °C"
    >>> slowly(SlowPathView(model="sdxl", rate=0.31, faster=2, reason=hot, remedy=""))
    'renders sdxl at 31 % of the rate expected of its card (2 nodes with such a card are faster): thermal \
throttling is likely, because the card is at 91 °C'
    """
    others = f"{counted(path.faster, 'node')} with such a card {'is' if path.faster == 1 else 'are'} faster"
    rate = f"renders {path.model} at {path.rate * 100:.0f} % of the rate expected of its card"
    return f"{rate} ({others}): {path.reason}" if path.faster else f"{rate}: {path.reason}"


def left_to_others(models: Sequence[str]) -> str:
    """
    >>> left_to_others(["flux-dev", "z-image-turbo"])
    'leaves flux-dev and z-image-turbo to other cards, which need less than a quarter of the energy for them'
    """
    return f"leaves {listed(models)} to other cards, which need less than a quarter of the energy for them"


def out_of_service(node: NodeFacts) -> Answer:
    """Why a node takes no work, and how to bring it back."""
    return Answer(f"node {node.name} {_standing(node)}", _comeback(node))


def _standing(node: NodeFacts) -> str:
    """State and reason of a node; a reason set by a person already begins with the state."""
    if node.reason.startswith(node.state):
        return f"is {node.reason}"
    because = f": {node.reason}" if node.reason else ""
    match node.state:
        case NodeState.DRAINING:
            return f"is finishing its batch and takes no more work{because}"
        case NodeState.SELFTEST:
            return f"must pass a self-test of one shot before it gets more work{because}"
        case NodeState.PAUSED if node.by_owner:
            return f"is paused by its owner{because}"
    return f"is {node.state}{because}"


def _comeback(node: NodeFacts) -> str:
    name = node.name
    match node.state:
        case NodeState.OFFLINE if node.by_owner:
            return f"its owner must run `farm-node run` on {name}"
        case NodeState.PAUSED if node.by_owner and node.reason.endswith(RESUMES_BY_ITSELF):
            return ""
        case NodeState.PAUSED if node.by_owner:
            return f"its owner must run `farm-node resume` on {name}"
        case NodeState.PAUSED | NodeState.DRAINING | NodeState.OFFLINE:
            return f"`farm node resume {name}`"
        case NodeState.QUARANTINED:
            return (
                f"check its log; it runs a self-test later, or trust it now with `farm node forgive {name}`"
            )
        case NodeState.SELFTEST:
            return f"wait for the self-test, or trust it now with `farm node forgive {name}`"
        case NodeState.LOST:
            return f"check that {name} is on and can reach the farm; `farm-node run` restarts it"
        case NodeState.FORGOTTEN:
            return f"`farm-node run` on {name} makes it known again"
        case NodeState.READY | NodeState.BUSY:
            return ""

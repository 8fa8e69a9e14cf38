"""Words that all explanations share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from common.states import NodeState
from common.units import counted, format_money, format_seconds
from common.views import MisfitView
from coordinator.explain.facts import Budget, Check, Hand, NodeFacts

#: Hex digits of a shot's id that people read.
SHORT = 12
#: Names of a list before the rest is only counted.
_NAMES = 3
#: Reasons that are told before the rest is summed up.
_REASONS = 3

Reason = TypeVar("Reason")


class Answer(NamedTuple):
    """A sentence without a full stop, and what a person can do about it."""

    sentence: str
    remedy: str = ""
    #: Whether it comes right without anybody's doing.
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
    """The first of some reasons, each with its number of shots, and one of all that come behind them.

    >>> list(a_few([("black", 5), ("flat", 3), ("torn", 2), ("odd", 1), ("blue", 1)], str))
    [('black', 5), ('flat', 3), ('torn', 2), ('2 more reasons', 2)]
    """
    yield from reasons[:_REASONS]
    if rest := reasons[_REASONS:]:
        yield summed_up(counted(len(rest), "more reason")), sum(shots for _, shots in rest)


def misfits(shots: Mapping[str, int]) -> tuple[MisfitView, ...]:
    """A few of the reasons why shots fit no node, those of the most shots first."""
    ranked = Counter(shots).most_common()
    return tuple(MisfitView(reason=reason, shots=number) for reason, number in a_few(ranked, str))


def in_hand(hand: Hand) -> str:
    return f"in batch {hand.batch_id}, for {format_seconds(max(hand.since_s, 0.0))} so far"


def checking(check: Check | None) -> Answer:
    """How the check of delivered pictures stands.

    >>> checking(Check(waited_s=95, again_s=30)).sentence
    'waits for ingest, which was asked every 30 s and has not answered for 1 min 35 s'
    """
    if check is not None and check.trouble:
        return Answer(
            f"waits for the store, as ingest says: {check.trouble}",
            "see that the store runs; all goes on then",
        )
    if check is not None and check.waited_s > check.again_s:
        again, waited = format_seconds(check.again_s), format_seconds(check.waited_s)
        return Answer(
            f"waits for ingest, which was asked every {again} and has not answered for {waited}",
            "see that `python -m coordinator.ingest` runs; its log says what it lacks",
        )
    return Answer("is under way", goes_on=True)


def spent(budget: Budget) -> str:
    """
    >>> spent(Budget(limit=1.0, cost=1.25, reserved=0.0, currency="EUR"))
    'has cost 1.25 EUR of at most 1.00 EUR, 0.250 EUR too much'
    """
    money = [format_money(amount, budget.currency) for amount in (budget.cost, budget.limit)]
    words = f"has cost {money[0]} of at most {money[1]}"
    if budget.cost > budget.limit:
        return f"{words}, {format_money(budget.cost - budget.limit, budget.currency)} too much"
    if budget.reserved > 0:
        return f"{words}, and {format_money(budget.reserved, budget.currency)} more is in hand"
    return words


def out_of_service(node: NodeFacts) -> Answer:
    """Why a node takes no work, and what brings it back."""
    return Answer(f"node {node.name} {_standing(node)}", _comeback(node))


def _standing(node: NodeFacts) -> str:
    """The ledger's reason begins with the state's own word where a person put it there."""
    if node.reason.startswith(node.state):
        return f"is {node.reason}"
    because = f": {node.reason}" if node.reason else ""
    match node.state:
        case NodeState.DRAINING:
            return f"finishes its batch and takes no other{because}"
        case NodeState.SELFTEST:
            return f"must render one shot well before it gets more{because}"
        case NodeState.PAUSED if node.by_owner:
            return f"is paused by its owner{because}"
    return f"is {node.state}{because}"


def _comeback(node: NodeFacts) -> str:
    name = node.name
    match node.state:
        case NodeState.OFFLINE if node.by_owner:
            return f"its owner runs `farm-node run` on {name}"
        case NodeState.PAUSED if node.by_owner:
            return f"its owner runs `farm-node resume` on {name}"
        case NodeState.PAUSED | NodeState.DRAINING | NodeState.OFFLINE:
            return f"`farm node resume {name}`"
        case NodeState.QUARANTINED:
            return f"look at its log; it tests itself in a while, or `farm node forgive {name}` trusts it now"
        case NodeState.SELFTEST:
            return f"wait for that shot, or trust it now: `farm node forgive {name}`"
        case NodeState.LOST:
            return f"see that {name} is on and reaches this farm; `farm-node run` starts it again"
        case NodeState.READY | NodeState.BUSY:
            return ""

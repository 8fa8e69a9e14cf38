"""Which failed attempts keep a shot from a node: what a claim goes by, and explanations with it."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_

from common.failures import Blame, kinds
from common.states import AttemptState
from coordinator.ledger.schema import attempts


def failed() -> ColumnElement[bool]:
    """Whether another node should try the shot of an attempt first.

    The farm's own troubles ask for none; where memory ran out, smaller passes or the class see to it.
    """
    return and_(
        attempts.c.state.in_((AttemptState.FAILED, AttemptState.REJECTED)),
        attempts.c.failure.not_in(kinds(Blame.FARM, Blame.CANCELLED, Blame.OUT_OF_MEMORY)),
    )


def by_its_own_fault() -> ColumnElement[bool]:
    """Whether a failed attempt's shot rests on that node; a kind that is unknown here is the shot's fault."""
    return attempts.c.failure.not_in(kinds(*set(Blame) - {Blame.SHOT}))

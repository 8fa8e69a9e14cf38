"""The record of a node: the results of its latest attempts, and when it is no longer trusted."""

from __future__ import annotations

GOOD, BAD = ".", "x"
#: Number of outcomes that a record keeps.
_LENGTH = 50
#: Limits of a node's own failures, in a row and among all outcomes in its record; a node that reaches one is
#: not trusted.
_IN_A_ROW = 3
_AMONG_ALL = 6


def noted(record: str, outcome: str) -> str:
    """Returns the record with `GOOD` or `BAD` appended.

    >>> noted(".", BAD)
    '.x'
    """
    return (record + outcome)[-_LENGTH:]


def doubt(record: str) -> str | None:
    """Returns why a node with this record is not trusted; None if it is trusted.

    >>> doubt("..xxx"), doubt(".xx.xx.")
    ('3 failures of its own in a row', None)
    """
    if record.endswith(BAD * _IN_A_ROW):
        return f"{_IN_A_ROW} failures of its own in a row"
    bad = record.count(BAD)
    return f"{bad} of its last {len(record)} pictures failed by its own fault" if bad >= _AMONG_ALL else None

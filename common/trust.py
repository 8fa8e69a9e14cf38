"""A node's record: how its last pictures came out, and when that is too bad to go on."""

from __future__ import annotations

GOOD, BAD = ".", "x"
#: Outcomes that a record keeps.
_LENGTH = 50
#: Failures of its own in a row, and among all that are kept, that a node is not trusted with.
_IN_A_ROW = 3
_AMONG_ALL = 6


def noted(record: str, outcome: str) -> str:
    """The record with `GOOD` or `BAD` at its end.

    >>> noted(".", BAD)
    '.x'
    """
    return (record + outcome)[-_LENGTH:]


def doubt(record: str) -> str | None:
    """Why a node with this record is not to be trusted; None while it is.

    >>> doubt("..xxx"), doubt(".xx.xx.")
    ('3 failures of its own in a row', None)
    """
    if record.endswith(BAD * _IN_A_ROW):
        return f"{_IN_A_ROW} failures of its own in a row"
    bad = record.count(BAD)
    return f"{bad} of its last {len(record)} pictures failed by its own fault" if bad >= _AMONG_ALL else None

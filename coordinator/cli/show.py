"""How the command line shows things: tables for people, JSON for programs, one form for each quantity."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, RootModel
from rich.console import Console
from rich.table import Table

#: Columns of a table where nobody's terminal limits it.
_PIPE_WIDTH = 200

#: What a command was asked for.
out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
#: What it has to say beside that.
err = Console(stderr=True, highlight=False)


def print_json(data: BaseModel | Sequence[BaseModel]) -> None:
    """As JSON on standard output, uncoloured and unwrapped."""
    model = data if isinstance(data, BaseModel) else RootModel[list[BaseModel]](list(data))
    sys.stdout.write(model.model_dump_json(indent=2, serialize_as_any=True) + "\n")


def table(*columns: str, rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> Table:
    """A plain table; the columns named in `right` are aligned to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def money(amount: float | None, currency: str) -> str:
    """Enough digits for the cost of one image, which may be far below a cent.

    >>> money(12.345, "EUR"), money(0.000123, "EUR"), money(None, "EUR")
    ('12.35 EUR', '0.000123 EUR', '-')
    """
    if amount is None:
        return "-"
    return f"{amount:.2f} {currency}" if amount >= 1 or amount == 0 else f"{amount:.3g} {currency}"


def duration(seconds: float | None) -> str:
    """
    >>> duration(8), duration(75.2), duration(3700), duration(None)
    ('8 s', '1 min 15 s', '1 h 1 min', '-')
    """
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def counted(number: int, noun: str) -> str:
    """
    >>> counted(1, "image"), counted(2, "image")
    ('1 image', '2 images')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

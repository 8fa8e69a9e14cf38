"""How the command line shows things: tables for people, JSON for programs, one form for each quantity."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, RootModel
from rich.console import Console
from rich.table import Table

from common.units import format_money, format_seconds

#: Columns of a table where nobody's terminal limits it.
_PIPE_WIDTH = 200

#: What a command was asked for.
out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
#: What it has to say beside that.
err = Console(stderr=True, highlight=False)


def whisper(sentence: str) -> None:
    """Tell what goes on beside what was asked for."""
    err.print(sentence, style="dim", markup=False)


def print_json(data: BaseModel | Sequence[BaseModel]) -> None:
    """As JSON on standard output, uncoloured and unwrapped."""
    model = data if isinstance(data, BaseModel) else RootModel[list[BaseModel]](list(data))
    sys.stdout.write(model.model_dump_json(indent=2, serialize_as_any=True) + "\n")


def table(*columns: str, rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> Table:
    """A plain table; the columns named in `right` are aligned to the right, those without a word left out."""
    rows = list(rows)
    said = [number for number in range(len(columns)) if any(row[number] for row in rows)]
    made = Table(box=None, pad_edge=False, header_style="bold")
    for number in said:
        side: Literal["left", "right"] = "right" if columns[number] in right else "left"
        made.add_column(columns[number], justify=side, overflow="fold")
    for row in rows:
        made.add_row(*(row[number] for number in said))
    return made


def money(amount: float | None, currency: str) -> str:
    return "-" if amount is None else format_money(amount, currency)


def duration(seconds: float | None) -> str:
    return "-" if seconds is None else format_seconds(seconds)

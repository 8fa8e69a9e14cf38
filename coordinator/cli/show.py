"""Output of the commands: tables for people, JSON for programs, and one format per quantity."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Literal, TypeVar

from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from rich.console import RenderableType
from rich.table import Table

from common.terminal import err, out, styled, styled_lines
from common.units import format_money, format_seconds
from coordinator.explain.words import help_on

__all__ = ["duration", "err", "money", "out", "print_json", "print_list", "table", "whisper"]


V = TypeVar("V", bound=BaseModel)


def whisper(sentence: str) -> None:
    """Print progress information to standard error."""
    err.say(sentence, style="dim")


def print_json(data: BaseModel | Sequence[BaseModel]) -> None:
    """Print JSON to standard output without colours or wrapping; as ASCII if the encoding requires it."""
    dumped = _dumped(data) if isinstance(data, BaseModel) else [_dumped(each) for each in data]
    text = json.dumps(dumped, indent=2, ensure_ascii=False, default=_plain)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(dumped, indent=2, default=_plain)
    sys.stdout.write(f"{text}\n")


def print_answer(answer: BaseModel, words: str, as_json: bool) -> None:
    """Print what a farm answered as JSON, or what it means in words."""
    if as_json:
        print_json(answer)
    else:
        out.say(words)


def print_list(
    views: Sequence[V],
    as_table: Callable[[Sequence[V]], Table],
    none: str,
    as_json: bool,
    words_of: Callable[[Sequence[V]], Iterable[str]] = lambda _: (),
) -> None:
    """Print what a farm has as JSON or as a table, or the sentence `none` if it has nothing.

    Below the table, words of the farm that are on it are explained (`words_of`).
    """
    if as_json:
        print_json(views)
    elif views:
        out.print(as_table(views))
        if words := help_on(words_of(views)):
            out.print(styled_lines(words, style="dim"))
    else:
        out.say(none)


def _dumped(model: BaseModel) -> object:
    return model.model_dump(serialize_as_any=True)


def _plain(value: object) -> object:
    """Converts money to a number; pydantic handles other types."""
    return float(value) if isinstance(value, Decimal) else to_jsonable_python(value)


def table(
    *columns: str,
    rows: Iterable[Sequence[RenderableType]],
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> Table:
    """Returns a plain table; columns in `right` are right-aligned, empty columns are omitted.

    Where the terminal is narrow, columns in `whole` are not broken: others are, and their headings at spaces.
    A string is one line; use `styled_lines` for several lines.
    """
    rows = list(rows)
    filled = [number for number in range(len(columns)) if any(row[number] for row in rows)]
    made = Table(box=None, pad_edge=False, header_style="bold")
    for number in filled:
        side: Literal["left", "right"] = "right" if columns[number] in right else "left"
        words = columns[number].split() or [""]
        made.add_column(
            styled(columns[number]),
            justify=side,
            overflow="fold",
            no_wrap=columns[number] in whole,
            min_width=max(map(len, words)),
        )
    for row in rows:
        made.add_row(*(styled(cell) if isinstance(cell := row[number], str) else cell for number in filled))
    return made


def money(amount: float | Decimal | None, currency: str) -> str:
    return "-" if amount is None else format_money(amount, currency)


def duration(seconds: float | None) -> str:
    return "-" if seconds is None else format_seconds(seconds)

"""What both programs write to a terminal or a log: text is shown as it is, and nothing in it is obeyed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any

from rich.console import Console
from rich.text import Text

from common.errors import FarmError
from common.wording import visible, visible_lines

#: Columns of a table where nobody's terminal limits it.
_PIPE_WIDTH = 200


class Terminal(Console):
    """A console where a string is text: no markup, no emoji by name, no colours for what looks like a number.

    Whatever is printed, alone or in a table, has its control characters escaped.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        options |= {"markup": False, "emoji": False, "highlight": False}
        return super().render_str(visible_lines(text), **options)

    def say(self, *parts: str | tuple[str, str], style: str = "") -> None:
        """One sentence on one line, which the terminal wraps; a part may be (text, style)."""
        self.print(styled(*parts), style=style, soft_wrap=True)


#: What a command was asked for.
out = Terminal(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
#: What it has to say beside that.
err = Terminal(stderr=True)


def styled(*parts: str | tuple[str, str], style: str = "") -> Text:
    """One line made of texts and of (text, style).

    Takes the place of `rich.text.Text`, which drops some control characters and passes the others on.
    """
    shown = [(visible(part), "") if isinstance(part, str) else (visible(part[0]), part[1]) for part in parts]
    return Text.assemble(*shown, style=style)


def styled_lines(lines: Iterable[str], style: str = "") -> Text:
    """Several lines as one block."""
    return Text("\n", style=style).join(map(styled, lines))


class LogFormatter(logging.Formatter):
    """A record is one line, apart from its traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return visible(super().formatMessage(record).rstrip())

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return visible_lines(super().formatException(ei))


def log_to_stderr(level: int) -> None:
    """How a server logs."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


@contextmanager
def exit_on_error() -> Iterator[None]:
    """How a server ends on a FarmError: with its sentence on stderr and its exit code."""
    try:
        yield
    except FarmError as error:
        err.print(str(error), soft_wrap=True)
        sys.exit(error.exit_code)


def speak_any_encoding() -> None:
    """Characters that the terminal's encoding lacks are written as escapes instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

"""Terminal and log output of both programs: text is shown literally, and control characters are escaped."""

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

#: Width in columns of tables if the output is not a terminal.
_PIPE_WIDTH = 200


class Terminal(Console):
    """A console that prints strings literally: no markup, no emoji names, no automatic highlighting.

    Control characters are escaped in all output, including tables.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        options |= {"markup": False, "emoji": False, "highlight": False}
        return super().render_str(visible_lines(text), **options)

    def say(self, *parts: str | tuple[str, str], style: str = "") -> None:
        """Print one sentence on one line, which the terminal wraps. A part is a text or (text, style)."""
        self.print(styled(*parts), style=style, soft_wrap=True)


#: For the results of a command.
out = Terminal(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
#: For progress, warnings and errors.
err = Terminal(stderr=True)


def styled(*parts: str | tuple[str, str], style: str = "") -> Text:
    """Returns one line made of texts and (text, style) pairs.

    Replaces `rich.text.Text`, which drops some control characters and passes others through.
    """
    shown = [(visible(part), "") if isinstance(part, str) else (visible(part[0]), part[1]) for part in parts]
    return Text.assemble(*shown, style=style)


def styled_lines(lines: Iterable[str], style: str = "") -> Text:
    """Returns several lines as one block."""
    return Text("\n", style=style).join(map(styled, lines))


class LogFormatter(logging.Formatter):
    """Formats each record as one line, apart from its traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return visible(super().formatMessage(record).rstrip())

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return visible_lines(super().formatException(ei))


def log_to_stderr(level: int) -> None:
    """Configure the logging of a server."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Print a FarmError to stderr and exit with its exit code, for servers."""
    try:
        yield
    except FarmError as error:
        err.print(str(error), soft_wrap=True)
        sys.exit(error.exit_code)


def speak_any_encoding() -> None:
    """Escape characters that the encoding of the terminal lacks, instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

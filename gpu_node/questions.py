"""What the owner of a card is asked when a node joins by an invitation; the answers are its `owner.yaml`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pydantic import ValidationError

from gpu_node.owner_settings import LENT, OwnerSettings

#: Of a question: what the settings have of an answer that is not empty. Raises ValueError.
_Read = Callable[[str], object]


class _Question(NamedTuple):
    key: str
    words: str
    read: _Read
    #: What an empty answer means, and is.
    default: str
    value: object


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None


def _yes_or_no(text: str) -> bool:
    for word, meaning in (("yes", True), ("no", False)):
        if word.startswith(text.lower()):
            return meaning
    raise ValueError(f"{text!r} is neither yes nor no")


_HEAT_C, _DISK_GIB = LENT.temperature_c, LENT.disk_gib
_WHEN = "When may it work? Hours such as 22:00-08:00; sat,sun 00:00-24:00"
_QUESTIONS = (
    _Question("when", _WHEN, _parts, "always", ()),
    _Question("power_watts", "How many watts may it take on average?", _number, "no limit", None),
    _Question("temperature_c", "Above how many °C does it pause?", _number, f"{_HEAT_C:g}", _HEAT_C),
    _Question("disk_gib", "How many GiB of disk may models take?", _number, f"{_DISK_GIB:g}", _DISK_GIB),
    _Question("sfw_only", "Only work that the farm promises to be safe for work?", _yes_or_no, "no", False),
)


def ask_owner(ask: Callable[[str], str], say: Callable[[str], None]) -> OwnerSettings:
    """The answers to five questions, each asked until it has one; an empty one takes what is in brackets.

    `ask` shows a question and returns a line; `say` shows why an answer is none.
    """
    settings = LENT
    for question in _QUESTIONS:
        settings = _answered(settings, question, ask, say)
    return settings


def _answered(
    settings: OwnerSettings, question: _Question, ask: Callable[[str], str], say: Callable[[str], None]
) -> OwnerSettings:
    while True:
        line = ask(f"{question.words} [{question.default}] ").strip()
        try:
            value = question.read(line) if line else question.value
            return OwnerSettings.model_validate({**settings.model_dump(), question.key: value})
        except ValidationError as error:
            say(error.errors()[0]["msg"].removeprefix("Value error, "))
        except ValueError as error:
            say(str(error))

"""Trigger words: inserted at `{trigger}` or in front, in LoRA order, without duplicates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from common.catalog import Lora

#: Begins a placeholder to be filled in once the rest of a prompt is known; cannot occur in prompts.
_MARK = "\0"
_ALL = f"{_MARK}[]"
_ONE = re.compile(rf"{_MARK}\[([^\]]+)\]")
#: An empty placeholder is removed together with one comma.
_NOTHING = f"{_MARK}-"
_EMPTY = re.compile(f" ?, ?{_NOTHING}|{_NOTHING} ?, ?|{_NOTHING} ?")


def place(lora: str = "") -> str:
    """The placeholder for the triggers of one LoRA, or of all that are not referenced separately."""
    return f"{_MARK}[{lora}]"


def fill(prompt: str, loras: Sequence[Lora], *, in_front: bool = True) -> str:
    """The prompt with its placeholders filled; triggers that do not occur yet are put in front."""
    if not loras and _MARK not in prompt:
        return prompt
    prompt = _ONE.sub(lambda match: _words_of(match[1], loras), prompt)
    words = dict.fromkeys(word for lora in loras for word in lora.triggers)
    missing = ", ".join(word for word in words if not _finder(word).search(prompt))
    if _ALL in prompt:
        prompt = prompt.replace(_ALL, missing or _NOTHING, 1).replace(_ALL, _NOTHING)
    elif in_front and missing:
        prompt = f"{missing}, {prompt}" if prompt else missing
    return _EMPTY.sub("", prompt)


def _words_of(name: str, loras: Sequence[Lora]) -> str:
    return ", ".join(word for lora in loras if lora.name == name for word in lora.triggers) or _NOTHING


@lru_cache(maxsize=1024)
def _finder(word: str) -> re.Pattern[str]:
    """A pattern that matches the whole word, ignoring case."""
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)

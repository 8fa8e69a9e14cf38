"""Prompt lists in Midjourney syntax: `a cat --ar 2:3 --no people --s 250`."""

from __future__ import annotations

import re

from coordinator.importing.imported import Account, Wish, Wishes
from coordinator.importing.lines import flags, lines

#: Flags that are unique to this program.
MARKS = frozenset(
    (
        *("ar", "aspect", "no", "v", "version", "stylize", "chaos", "c", "q", "quality", "niji", "iw"),
        *("style", "weird", "sref", "cref", "tile", "raw", "cw", "sw", "p", "profile", "repeat", "r", "stop"),
        *("uplight", "upbeta", "hd", "video", "relax", "fast", "turbo", "test", "testp"),
    )
)
_PICTURE = re.compile(r"^(?:https?://\S{1,2000}\s+)+")
_COMMAND = re.compile(r"^/?imagine(?:\s+prompt)?:?\s+", re.IGNORECASE)


def prompt_list(text: str, account: Account) -> Wishes:
    return Wishes(
        "Midjourney prompt list", [_wish(line, place, account) for place, line in lines(text, account)]
    )


def _wish(line: str, place: str, account: Account) -> Wish:
    wish = Wish(place=place)
    before, found = flags(line)
    before = _COMMAND.sub("", before)
    if picture := _PICTURE.match(before):
        account.leave("an image URL", "the farm supports only text-to-image", place)
        before = before[picture.end() :]
    wish.say("prompt", "line", before)
    for name, value in found:
        match name.lower():
            case "ar" | "aspect":
                wish.say("aspect", f"--{name}", value)
            case "no":
                negative = ", ".join(filter(None, (wish.text("negative"), value)))
                wish.say("negative", "--no", negative)
            case "seed":
                wish.say("seed", "--seed", value)
            case "repeat" | "r":
                wish.say("count", f"--{name}", value)
            case _:
                account.leave(f"--{name} {value}".strip(), "only Midjourney supports this", place, name)
    return wish

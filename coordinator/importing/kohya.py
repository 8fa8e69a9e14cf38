"""Prompt files of kohya sd-scripts: `a cat --n blurry --w 512 --h 768 --d 42 --s 20 --l 7.5`."""

from __future__ import annotations

from coordinator.importing.imported import Account, Wishes
from coordinator.importing.lines import flagged

#: Flags to field names.
_FLAGS = {
    "n": "negative",
    "w": "width",
    "h": "height",
    "d": "seed",
    "s": "steps",
    "l": "guidance",
    "g": "guidance",
    "ss": "sampler",
    "fs": "shift",
}
_LEFT = {
    "am": "add the LoRAs with their weights to `loras`; the list does not name them",
    "cn": "the farm supports only text-to-image",
    "ctr": "the farm supports only text-to-image",
    "i": "the farm supports only text-to-image",
    "ci": "the farm supports only text-to-image",
    "t": "the farm does not render videos",
    "f": "the farm does not render videos",
}
#: Flags that are unique to this program.
MARKS = frozenset(("n", "w", "h", "d", "l", "am", "ss", "fs"))


def prompt_file(text: str, account: Account) -> Wishes:
    wishes = []
    for wish, found in flagged(text, account):
        for name, value in found:
            key = name.lower()
            if key in _FLAGS:
                wish.say(_FLAGS[key], f"--{name}", value)
            else:
                why = _LEFT.get(key, "the farm does not have this setting")
                account.leave(f"--{name} {value}".strip(), why, wish.place, name)
        wishes.append(wish)
    return Wishes("kohya prompt file", wishes, family="sd")

"""SwarmUI: parameters in images, and prompts with tags such as `<random:a,b>` and `<lora:x:0.8>`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.wording import shortened
from coordinator.importing.imported import Account, TheirLora, Wish, Wishes, fill
from coordinator.importing.lines import lines
from coordinator.importing.texts import escaped

KEY = "sui_image_params"
_TAG = re.compile(r"<(?P<name>[a-zA-Z]{2,20})(?:\[(?P<option>[^\[\]<>]{0,60})\])?(?P<colon>:)?")
#: Tags by which a list is recognised.
MARK = re.compile(
    r"<(?:random|alternate|alt|wildcard|wc|setvar|var|fromto|segment|object|preset|p|embed|repeat|clear|region|"
    r"refiner|base|video|trigger|param|comment|setmacro|macro|break)(?:\[[^\[\]<>]{0,60}\])?[:>]",
    re.IGNORECASE,
)
#: Parameter names that have another meaning or name elsewhere.
_RENAMED = {"scheduler": "schedule type"}
_COUNT = re.compile(r"(\d{1,3}(?:-\d{1,3})?)(,?)")
_WHY = {
    **dict.fromkeys(("alternate", "alt"), "alternating words are not supported; all of them are kept"),
    **dict.fromkeys(
        ("lora", "lyco"), "a LoRA cannot be drawn at random; use an axis of mappings with `loras`"
    ),
    "fromto": "words that change during rendering are not supported; all of them are kept",
    **dict.fromkeys(("segment", "object", "region", "clear"), "the farm does not support inpainting"),
    **dict.fromkeys(("refiner", "base", "video", "extend"), "the farm supports one pass"),
    **dict.fromkeys(("preset", "p"), "the farm does not have SwarmUI presets"),
    **dict.fromkeys(("setmacro", "macro"), "write the words out"),
}
#: Tags whose content remains in the prompt.
_WORDS_KEPT = ("alternate", "alt", "fromto")
#: Tags that apply to the rest of the prompt.
_SECTIONS = ("segment", "object", "region", "refiner", "video", "extend")
MAX_DEPTH = 20
_BLANKS = re.compile(r" {2,}")


def parameters(data: Mapping[str, Any], account: Account) -> Wishes:
    """The settings in `sui_image_params` of an image, whose prompts are already drawn."""
    wish = Wish()
    weights = _listed(data.get("loraweights"))
    for number, name in enumerate(_listed(data.get("loras"))):
        weight = weights[number] if number < len(weights) else "1"
        is_number = re.fullmatch(r"-?\d{1,4}(\.\d{1,9})?", weight)
        wish.loras.append(TheirLora(name, float(weight) if is_number else 1.0))
    skipped = {"loras", "loraweights", "aspectratio", "images"}
    parameters = {_RENAMED.get(key, key): str(value) for key, value in data.items() if key not in skipped}
    fill(wish, parameters.items(), account)
    for name in ("prompt", "negative"):
        if text := wish.fields.get(name):
            wish.say(name, text.theirs, Translation(account, "", wish).text(text.text))
    return Wishes("SwarmUI image settings", [wish], is_template=True)


def _listed(value: Any) -> list[str]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [str(each) for each in value] if isinstance(value, list) else []


def prompt_list(text: str, account: Account) -> Wishes:
    wishes = []
    for place, line in lines(text, account):
        wish = Wish(place=place)
        translated = Translation(account, place, wish).text(line)
        wish.say("prompt", "line", translated)
        wishes.append(wish)
    return Wishes("SwarmUI prompt list", wishes, is_template=True)


@dataclass(slots=True)
class Translation:
    """Translates one prompt into a template; settings in its tags are added to the wish."""

    account: Account
    place: str
    wish: Wish
    variables: dict[str, str] = field(default_factory=dict)

    def text(self, text: str, depth: int = 0) -> str:
        parts: list[str] = []
        at, ends = 0, _ends(text)
        while tag := _TAG.search(text, at):
            parts.append(self._plain(text[at : tag.start()], depth))
            end = ends.get(tag.start(), -1)
            if end < 0 or depth > MAX_DEPTH or not (tag["colon"] or text[tag.end()] == ">"):
                parts.append(self._plain(tag[0], depth))
                at = tag.end()
                continue
            name, content = tag["name"].lower(), text[tag.end() : end]
            if name in _SECTIONS:
                self.account.leave(shortened(text[tag.start() :], 40), _WHY[name], self.place, name)
                return "".join(parts).strip()
            parts.append(self._tag(name, tag["option"] or "", content, depth))
            at = end + 1
        parts.append(self._plain(text[at:], depth))
        return _BLANKS.sub(" ", "".join(parts)).strip()

    def _plain(self, text: str, depth: int) -> str:
        found = escaped(text, self.account, self.place)
        return found.replace("|", "\\|") if depth else found

    def _tag(self, name: str, option: str, content: str, depth: int) -> str:
        counted = _COUNT.fullmatch(option)
        # SwarmUI separates several choices by spaces unless the count ends in a comma.
        count = f"{counted[1]}$${',' if counted[2] else ''} $$" if counted else ""
        match name:
            case "random":
                options = [self.text(each, depth + 1) for each in _options(content)]
                return f"{{{count}{'|'.join(options)}}}" if len(options) > 1 else "".join(options)
            case "wildcard" | "wc":
                mention = f"__{content.partition(',')[0].strip()}__"
                return f"{{{count}{mention}}}" if count else mention
            case "trigger":
                return "{trigger}"
            case "comment" | "break":
                return ""
            case "setvar":
                return self._set(option, content, depth)
            case "var":
                return self._read(content.strip())
            case "param":
                fill(self.wish, [(option, content)], self.account)
                return ""
            case "repeat":
                words, _, rest = content.partition(",")
                times = int(words) if words.strip().isdecimal() and int(words) <= MAX_DEPTH else 1
                return ", ".join([self.text(rest.strip(), depth + 1)] * times)
            case "embed" | "embedding":
                return f"embedding:{content.strip().rpartition('/')[2]}"
            case "lora" | "lyco" if depth == 0:
                return f"<{name}:{content}>"
        return self._left(name, option, content, depth)

    def _left(self, name: str, option: str, content: str, depth: int) -> str:
        whole = f"<{name}{f'[{option}]' if option else ''}{':' if content else ''}{content}>"
        why = _WHY.get(name)
        if why is None:
            return self._plain(whole, depth)
        self.account.leave(shortened(whole, 40), why, self.place, name)
        return (
            ", ".join(self.text(each, depth + 1) for each in _options(content)) if name in _WORDS_KEPT else ""
        )

    def _set(self, option: str, content: str, depth: int) -> str:
        """Stores the words for later references; they also appear here unless the tag says otherwise."""
        name, _, is_shown = option.partition(",")
        words = self.text(content, depth + 1)
        if "{" in words or "__" in words:
            why = "its words are drawn again at each reference; use an axis with `expand: true`"
            self.account.leave(f"<setvar[{shortened(name, 20)}]:…>", why, self.place, "setvar")
        self.variables[name.strip()] = words
        return "" if is_shown.strip().lower() == "false" else words

    def _read(self, name: str) -> str:
        if name not in self.variables:
            why = "no preceding `<setvar[…]:…>` sets it"
            self.account.leave(f"<var:{shortened(name, 30)}>", why, self.place, "var")
        return self.variables.get(name, "")


def _ends(text: str) -> dict[int, int]:
    """Maps the position of each closed `<` to that of its `>`."""
    opened: list[int] = []
    found: dict[int, int] = {}
    for at, char in enumerate(text):
        if char == "<":
            opened.append(at)
        elif char == ">" and opened:
            found[opened.pop()] = at
    return found


def _options(content: str) -> list[str]:
    """Alternatives outside of tags, separated by `||`, else by `|`, else by commas."""
    outside = _outside(content)
    separator = "||" if "||" in outside else "|" if "|" in outside else ","
    found, depth, start, at = [], 0, 0, 0
    while at < len(content):
        if content[at] in "<>":
            depth += 1 if content[at] == "<" else -1
        elif depth == 0 and content.startswith(separator, at):
            found.append(content[start:at])
            at += len(separator)
            start = at
            continue
        at += 1
    return [each.strip() for each in [*found, content[start:]] if each.strip()]


def _outside(content: str) -> str:
    """The text without its tags."""
    depth, kept = 0, []
    for char in content:
        depth += (char == "<") - (char == ">")
        if depth == 0 and char != ">":
            kept.append(char)
    return "".join(kept)

"""AUTOMATIC1111 and its forks: infotext of images, "prompts from file" lists, `styles.csv`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from coordinator.importing.imported import Account, Styles, TheirLora, Wish, Wishes, fill
from coordinator.importing.lines import flagged

#: `Key: value` pairs of the settings line; a value with a comma, colon or line break is a JSON string.
_PAIR = re.compile(r'\s*(\w[\w \-/]{0,60}):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
#: A line with fewer pairs is part of the prompt.
_FEWEST = 3
#: A LoRA as written by Fooocus.
_WEIGHED = re.compile(r"(?P<name>[^:]{1,200}?)\s*:\s*(?P<weight>-?\d{1,4}(?:\.\d{1,9})?)")
_NEGATIVE = "Negative prompt:"

#: Flags without a value.
_SWITCHES = ("restore_faces", "tiling", "do_not_save_samples", "do_not_save_grid")


def is_infotext(text: str) -> bool:
    last = text.rstrip().rpartition("\n")[2]
    return len(_pairs(last)) >= _FEWEST and "Steps" in last


def infotext(text: str, account: Account, *, place: str = "") -> Wishes:
    """The image described by a `parameters` text."""
    wish = Wish(place=place)
    settings = _settings(text)
    pairs = _pairs(settings)
    rest = text.strip()[: -len(settings)] if settings else text.strip()
    prompt, negative = _prompts(rest)
    wish.say("prompt", "prompt", prompt)
    if negative:
        wish.say("negative", "Negative prompt", negative)
    fill(wish, _without_hires(pairs), account)
    version = dict(pairs).get("Version", "")
    return Wishes("A1111 image settings", [wish], family="sd", is_ours=version.startswith("shotfarm"))


def _settings(text: str) -> str:
    last = text.strip().rpartition("\n")[2]
    return last if len(_pairs(last)) >= _FEWEST else ""


def _pairs(line: str) -> list[tuple[str, str]]:
    return [(key.strip(), _unquoted(value.strip())) for key, value in _PAIR.findall(line)]


def _unquoted(value: str) -> str:
    if value[:1] == value[-1:] == '"' and len(value) > 1:
        try:
            found = json.loads(value)
        except ValueError:
            return value
        return found if isinstance(found, str) else value
    return value


def _prompts(text: str) -> tuple[str, str]:
    """Prompt and negative prompt: the text before and from the line with `Negative prompt:`."""
    kept: list[str] = []
    negative: list[str] = []
    into = kept
    for line in text.strip().split("\n"):
        if into is kept and line.lstrip().startswith(_NEGATIVE):
            into, line = negative, line.lstrip().removeprefix(_NEGATIVE)
        into.append(line.strip())
    return "\n".join(kept).strip(), "\n".join(negative).strip()


def _without_hires(pairs: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The pairs, without the `Denoising strength` of a second (hires) pass."""
    has_second = any(key.startswith("Hires") for key, _ in pairs)
    for key, value in pairs:
        if not (has_second and key == "Denoising strength"):
            yield key, value


def flag_list(text: str, account: Account) -> Wishes:
    """A "prompts from file" list: one prompt per line, plain or with flags such as `--prompt "a mug"`."""
    wishes = []
    for wish, found in flagged(text, account):
        fill(wish, _flag_settings(found, wish.place, account), account)
        wishes.append(wish)
    return Wishes("A1111 prompt list", wishes, family="sd")


def _flag_settings(
    found: Iterable[tuple[str, str]], place: str, account: Account
) -> Iterator[tuple[str, str]]:
    for key, value in found:
        word = key.replace("-", "_").lower()
        if word in _SWITCHES:
            yield f"--{key}", value or "true"
        elif word == "sampler_index" and value.isdigit():
            account.leave(f"--{key} {value}", "a sampler must be given by name", place, key)
        else:
            yield f"--{key}", value


def styles(rows: Iterable[dict[str, str]]) -> Styles:
    """The rows of `styles.csv`: name, prompt and negative prompt; rows with neither prompt are separators."""
    found = []
    for row in rows:
        named = {key.strip().lower().replace(" ", "_"): value for key, value in row.items()}
        prompt, negative = named.get("prompt", ""), named.get("negative_prompt", "")
        if named.get("name") and (prompt or negative):
            found.append((named["name"], prompt, negative))
    return Styles(tuple(found))


def fooocus(data: Mapping[str, Any], account: Account) -> Wishes:
    """The JSON that Fooocus writes instead of infotext."""
    wish = Wish()
    pairs = [(key, value) for key, value in data.items() if isinstance(value, str | int | float)]
    size = re.findall(r"\d{2,5}", str(data.get("resolution", "")))
    if len(size) == 2:
        wish.say("size", "resolution", "x".join(size))
    for key, value in pairs:
        named = _WEIGHED.fullmatch(str(value)) if key.startswith("lora") else None
        if named:
            wish.loras.append(TheirLora(named["name"].strip(), float(named["weight"])))
    renamed = {"base_model": "model", "scheduler": "schedule type"}
    skipped = ("resolution", "lora", "fooocus", "metadata", "full_", "styles", "performance", "created_by")
    fill(
        wish,
        [(renamed.get(key, key), str(value)) for key, value in pairs if not key.startswith(skipped)],
        account,
    )
    return Wishes("Fooocus image settings", [wish], family="sdxl")

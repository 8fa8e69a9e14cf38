"""InvokeAI: image metadata, prompt lists in its own syntax, and dynamic prompts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from coordinator.importing.imported import Account, TheirLora, Wish, Wishes, fill
from coordinator.importing.lines import lines

KEY = "invokeai_metadata"

#: Weights such as `(a mug)1.3` and `mug++`, and functions; only lists of InvokeAI contain them.
MARK = re.compile(
    r"\)[-+]{1,9}(?=[\s,.]|$)|\)\d?\.\d{1,3}(?=[\s,.]|$)|\w\+{1,9}(?=[\s,.]|$)"
    r'|\)\.(?:swap|and|blend)\(|"\)\.and\('
)
_NEGATIVE = re.compile(r",?\s{0,9}\[([^\[\]|:]{1,2000})\]")
#: Base models of InvokeAI to families of the catalog.
BASES = {
    "sd-1": "sd15",
    "sd1": "sd15",
    "sdxl": "sdxl",
    "flux": "flux1",
    "flux2": "flux2-klein",
    "z-image": "z-image",
}
#: Metadata that is not a setting of the image.
_BESIDE = {
    *("generation_mode", "app_version", "rand_device", "canvas_v2_metadata", "positive_style_prompt"),
    *("negative_style_prompt", "model", "loras", "sdxl", "ref_images", "board_id", "positive_prompt"),
    *("metadata_version", "clip_embed_model", "t5_encoder", "qwen3_encoder", "qwen3_source"),
}
_FROM_PICTURES = ("img2img", "inpaint", "outpaint")


def metadata(data: Mapping[str, Any], account: Account) -> Wishes:
    """The settings in `invokeai_metadata` of an image."""
    wish = Wish()
    wish.say("prompt", "positive_prompt", str(data.get("positive_prompt") or ""))
    model = data.get("model")
    base = ""
    if isinstance(model, Mapping):
        base = str(model.get("base") or model.get("base_model") or "")
        wish.say("model", "model", str(model.get("name") or model.get("model_name") or ""))
    for each in _mappings(data.get("loras")):
        named = each.get("model") or each.get("lora") or {}
        name = str(named.get("name") or named.get("model_name") or "") if isinstance(named, Mapping) else ""
        weight = each.get("weight")
        if name:
            wish.loras.append(TheirLora(name, float(weight) if isinstance(weight, int | float) else 1.0))
    mode = str(data.get("generation_mode") or "")
    if any(word in mode for word in _FROM_PICTURES):
        account.leave(f"generation_mode: {mode}", "the farm supports only text-to-image")
    rest = [(key, value) for key, value in data.items() if key not in _BESIDE]
    fill(wish, [(key, str(value)) for key, value in rest if isinstance(value, str | int | float)], account)
    for key, value in rest:
        if isinstance(value, list) and value:
            account.leave(key, "the farm supports only text-to-image")
    return Wishes("InvokeAI image settings", [wish], family=BASES.get(base, ""))


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def prompt_list(text: str, account: Account) -> Wishes:
    """A prompt list with weights; words in `[…]` form the negative prompt."""
    wishes = []
    for place, line in lines(text, account):
        wish = Wish(place=place)
        negative = ", ".join(found.strip() for found in _NEGATIVE.findall(line))
        wish.say("prompt", "line", _NEGATIVE.sub("", line).strip(" ,") if negative else line)
        if negative:
            wish.say("negative", "[…]", negative)
        wishes.append(wish)
    return Wishes("InvokeAI prompt list", wishes)


def dynamic_list(text: str, account: Account) -> Wishes:
    """A list of dynamic prompts; except for variables, they use the syntax of manifests."""
    wishes = []
    for place, line in lines(text, account):
        wish = Wish(place=place)
        wish.say("prompt", "line", line)
        wishes.append(wish)
    return Wishes("dynamic prompts", wishes, is_template=True)

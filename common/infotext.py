"""Metadata embedded in images: the text that other tools read, and the farm's own JSON.

The text has the `parameters` format of AUTOMATIC1111's web UI: the prompt, the negative prompt, then one line
of `Key: value` pairs. A value with a comma, colon or line break is a JSON string.
"""

from __future__ import annotations

import json
from typing import Any

from common.shot import LoraUse, Shot

#: Key of the infotext in PNG files.
INFOTEXT_KEY = "parameters"
#: Key of the farm's JSON in PNG files, and its XMP prefix in other formats.
FARM_KEY = "shotfarm"

#: EXIF tag (ImageDescription) that names the shot in a node's upload.
SHOT_TAG = 0x010E

#: Conventional length, in hex digits, of model hashes.
_SHORT_HASH = 10


def infotext(shot: Shot, *, version: str) -> str:
    """Returns the shot as `parameters` text, with LoRAs in the prompt as `<lora:name:weight>`."""
    uses = "".join(f" <lora:{use.name}:{_weights(use)}>" for use in shot.loras)
    lines = [shot.prompt + uses]
    if shot.negative:
        lines.append(f"Negative prompt: {shot.negative}")
    lines.append(", ".join(f"{key}: {_quoted(value)}" for key, value in _settings(shot, version).items()))
    return "\n".join(lines)


def _weights(use: LoraUse) -> str:
    """As the web UI writes them: that for the text encoder first, a single one if they are equal."""
    return ":".join(f"{weight:g}" for weight in reversed(use.weights))


def _settings(shot: Shot, version: str) -> dict[str, str]:
    settings = {
        "Steps": str(shot.steps),
        "Sampler": shot.sampler,
        "CFG scale": f"{shot.guidance:g}",
        "Seed": str(shot.seed),
        "Size": f"{shot.width}x{shot.height}",
        "Model hash": _short(shot.model_identity),
        "Model": shot.model,
    }
    settings |= {name.replace("_", " ").capitalize(): f"{value:g}" for name, value in shot.knobs}
    if shot.loras:
        settings["Lora hashes"] = ", ".join(f"{use.name}: {_short(use.identity)}" for use in shot.loras)
    if shot.upscaler:
        settings["Postprocess upscale by"] = str(shot.upscaler.scale)
        settings["Postprocess upscaler"] = shot.upscaler.name
    settings["Version"] = version
    return {key: value for key, value in settings.items() if value}


def _short(identity: str) -> str:
    """Returns the first digits of `sha256:<hex>`, or of the commit in `repo@commit`."""
    return identity.replace("@", ":").rpartition(":")[2][:_SHORT_HASH]


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if set(value) & set(',:\n"') else value


def farm_json(shot: Shot, *, template: str, recipe: str, version: str) -> str:
    """Returns everything needed to render the image again, as one line of JSON with sorted keys."""
    record: dict[str, Any] = {
        "farm": version,
        "id": shot.id,
        "recipe": recipe,
        "shot": shot.to_dict(),
        "template": template,
    }
    return json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

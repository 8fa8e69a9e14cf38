"""The metadata that the farm writes into its images, which describes the identical shot."""

from __future__ import annotations

from typing import Any

from common.shot import Shot
from coordinator.importing.imported import Account, TheirLora, Wish, Wishes

_QUALITY = {"webp": 90, "jpeg": 92}


def record(data: Any, account: Account) -> Wishes | None:
    """The shot of a metadata record; None if the record is invalid."""
    if not isinstance(data, dict) or not isinstance(data.get("shot"), dict):
        return None
    try:
        shot = Shot.from_dict(data["shot"])
        # Raises if a field has an invalid value.
        _ = shot.canonical()
    except (TypeError, ValueError):
        return None
    wish = Wish()
    settings = {
        "prompt": shot.prompt,
        "negative": shot.negative,
        "model": shot.model,
        "size": f"{shot.width}x{shot.height}",
        "steps": str(shot.steps),
        "guidance": repr(float(shot.guidance)),
        "sampler": shot.sampler,
        "seed": str(shot.seed),
    }
    if shot.upscaler:
        settings["upscale"] = shot.upscaler.name
    for ours, text in settings.items():
        if text:
            wish.say(ours, ours, text)
    for name, value in shot.knobs:
        wish.say(name, name, repr(float(value)))
    wish.loras = [TheirLora(use.name, float(use.weight), use.text_weight) for use in shot.loras]
    output: dict[str, object] = {} if shot.format == "png" else {"format": shot.format}
    if shot.quality != _QUALITY.get(shot.format, 0):
        output["quality"] = shot.quality
    if not shot.metadata:
        output["metadata"] = False
    return Wishes("image of this farm", [wish], is_ours=True, shot_id=shot.id, output=output, lane=shot.realm)

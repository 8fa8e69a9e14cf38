"""Perceptual hashes of real images of the demo model, as upright and as cheating nodes render them.

`python -m tests.demo_hashes` writes them to `demo_hashes.json` beside this file; it takes a minute.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

_FILE = Path(__file__).with_name("demo_hashes.json")
_MODEL = Path(__file__).parent.parent / "gpu_node" / "demo_model" / "shotfarm-demo"
_PROMPTS = (
    "a red mug on a blue background",
    "a blue lamp on a green background",
    "a green key on a yellow background",
    "a yellow car on a red background",
    "a red tree on a green background",
)
#: Of nodes that do what they were asked to: in float32, four in a pass, in bfloat16, and stored as JPEG.
HONEST = ("float32", "in_passes", "bfloat16", "jpeg")


class _Asked(NamedTuple):
    prompt: str
    seed: int


#: Three seeds of each prompt but the last.
SHOTS = [_Asked(prompt, seed) for prompt in _PROMPTS[:-1] for seed in (1, 2, 3)]
_OTHER_PROMPTS = [_Asked(prompt, seed) for prompt in _PROMPTS[1:] for seed in (1, 2, 3)]


@cache
def demo_hashes() -> dict[str, list[str]]:
    """How it was rendered to the hashes of `SHOTS`."""
    found: dict[str, list[str]] = json.loads(_FILE.read_text())
    return found


def _rendered() -> dict[str, list[Any]]:
    import torch

    pipe = _pipe()
    found = {
        "float32": _images(pipe, SHOTS),
        "in_passes": _images(pipe, SHOTS, at_once=4),
        "bfloat16": _images(_pipe(torch.bfloat16), SHOTS),
        "other_prompt": _images(pipe, _OTHER_PROMPTS),
        "other_seed": _images(pipe, [one._replace(seed=one.seed + 100) for one in SHOTS]),
        **{f"{steps}_of_9_steps": _images(pipe, SHOTS, steps=steps) for steps in (4, 5, 6, 7)},
        "4_bits": _images(_changed(_round_weights), SHOTS),
        "3_of_4_layers": _images(_changed(_drop_layer), SHOTS),
    }
    return found | {"jpeg": [_as_jpeg(one) for one in found["float32"]], "noise": _noise()}


def _pipe(dtype: Any = None) -> Any:
    from diffusers import ZImagePipeline

    pipe = ZImagePipeline.from_pretrained(_MODEL, dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _images(pipe: Any, shots: Sequence[_Asked], *, steps: int = 9, at_once: int = 1) -> list[Any]:
    import torch

    found: list[Any] = []
    for first in range(0, len(shots), at_once):
        some = shots[first : first + at_once]
        found += pipe(
            prompt=[one.prompt for one in some],
            width=128,
            height=128,
            num_inference_steps=steps,
            guidance_scale=1.0,
            generator=[torch.Generator("cpu").manual_seed(one.seed) for one in some],
        ).images
    return found


def _changed(change: Callable[[Any], None]) -> Any:
    import torch

    pipe = _pipe()
    with torch.no_grad():
        change(pipe.transformer)
    return pipe


def _round_weights(transformer: Any) -> None:
    """To 15 values in each row, as a model quantised to four bits has them."""
    for weights in transformer.parameters():
        if weights.dim() == 2:
            scale = (weights.abs().amax(dim=1, keepdim=True) / 7).clamp_min(1e-9)
            weights.copy_((weights / scale).round() * scale)


def _drop_layer(transformer: Any) -> None:
    del transformer.layers[-1]


def _as_jpeg(image: Any) -> Any:
    from PIL import Image

    held = io.BytesIO()
    image.save(held, "JPEG", quality=85)
    return Image.open(held).convert("RGB")


def _noise() -> list[Any]:
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (128, 128, 3), dtype=np.uint8)) for _ in SHOTS]


def main() -> None:
    from common.perceptual_hash import perceptual_hash

    hashes = {name: [perceptual_hash(one) for one in some] for name, some in _rendered().items()}
    _FILE.write_text(json.dumps(hashes, indent=1) + "\n")


if __name__ == "__main__":
    main()

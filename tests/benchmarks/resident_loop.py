"""The rival: what a person writes with diffusers alone, the pipeline loaded once.

`python resident_loop.py MODEL_FOLDER [TOKENS]`. A line on stdin is a JSON order of `folder`, `pass_size`,
`shots`; a line on stdout says how many seconds its images took, from the first prompt to the last PNG file.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import ZImagePipeline

#: As short as the prompts allow: a pipeline's own 512 would encode mostly padding.
_TOKENS = 64


def load(folder: str) -> Any:
    torch.set_num_threads(1)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    pipe = ZImagePipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def render(pipe: Any, shots: list[dict[str, Any]], folder: Path, tokens: int) -> None:
    """One pass: the images of one pipeline call as PNG files."""
    one = shots[0]
    images = pipe(
        prompt=[shot["prompt"] for shot in shots],
        width=one["width"],
        height=one["height"],
        num_inference_steps=one["steps"],
        guidance_scale=one["guidance"],
        generator=[torch.Generator("cpu").manual_seed(shot["seed"]) for shot in shots],
        max_sequence_length=tokens,
    ).images
    for shot, image in zip(shots, images, strict=True):
        image.save(folder / f"{shot['prompt'].replace(' ', '-')}-{shot['seed']}.png")


def main() -> None:
    pipe = load(sys.argv[1])
    tokens = int(sys.argv[2]) if len(sys.argv) > 2 else _TOKENS
    for line in sys.stdin:
        order = json.loads(line)
        shots, size = order["shots"], order["pass_size"]
        begin = time.perf_counter()
        for first in range(0, len(shots), size):
            render(pipe, shots[first : first + size], Path(order["folder"]), tokens)
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    main()

"""`python -m tests.demo_model.evaluate`: how well the committed demo model draws what the prompt says."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import ZImagePipeline
from PIL import Image
from rich.progress import track

from common.model_files import SHIPPED
from tests.demo_model.build import load
from tests.demo_model.captions import caption, plain
from tests.demo_model.judge import Judge, background_of, colour_of, own_accuracy, train_judge
from tests.demo_model.pictures import grid
from tests.demo_model.places import GRID, LORA, MODEL, TRAINING
from tests.demo_model.scenes import SUBJECTS, Scene, held_out_triples, sample
from tests.demo_model.train_lora import triggered

STEPS = 9
GUIDANCE = 1.0
PROMPTS = 200
LORA_PROMPTS = 24
BATCH = 10


class Shares(NamedTuple):
    """Shares of pictures in which each thing is as the prompt says."""

    object: float
    colour: float
    background: float


def render(
    pipeline: ZImagePipeline, prompts: Sequence[str], *, steps: int = STEPS, guidance: float = GUIDANCE
) -> list[Image.Image]:
    """One picture per prompt; the n-th has seed n."""
    pictures: list[Image.Image] = []
    for start in track(range(0, len(prompts), BATCH), "rendering", transient=True):
        part = list(prompts[start : start + BATCH])
        seeds = [torch.Generator().manual_seed(start + at) for at in range(len(part))]
        pictures += pipeline(
            prompt=part,
            generator=seeds,
            width=128,
            height=128,
            num_inference_steps=steps,
            guidance_scale=guidance,
            max_sequence_length=64,
        ).images
    return pictures


def held_out_scenes(count: int = PROMPTS) -> list[Scene]:
    """Scenes whose triple of subject, colour and background was never trained."""
    rng = random.Random("evaluate")
    triples = held_out_triples()
    rng.shuffle(triples)
    return [sample(rng, triples[at % len(triples)]) for at in range(count)]


def prompts_for(scenes: Sequence[Scene]) -> list[str]:
    """A full prompt for each scene in one of the many wordings."""
    rng = random.Random("prompts")
    return [_full(scene, rng) for scene in scenes]


def shares(judge: Judge, pictures: Sequence[Image.Image], scenes: Sequence[Scene]) -> Shares:
    found = judge.subjects(pictures)
    pairs = list(zip(pictures, scenes, strict=True))
    return Shares(
        object=_share(name == scene.subject for name, scene in zip(found, scenes, strict=True)),
        colour=_share(colour_of(picture, scene.subject) == scene.colour for picture, scene in pairs),
        background=_share(background_of(picture) == scene.background for picture, scene in pairs),
    )


def change(one: Sequence[Image.Image], other: Sequence[Image.Image]) -> float:
    """Mean difference of two rows of pictures, in grey levels of 255."""
    pairs = zip(one, other, strict=True)
    return float(
        np.mean([np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32)).mean() for a, b in pairs])
    )


def lora_changes(pipeline: ZImagePipeline, path: Path) -> dict[str, float]:
    """How far the LoRA moves pictures with its trigger in the prompt, and without."""
    rng = random.Random("lora")
    without = [plain(scene) for scene in held_out_scenes(LORA_PROMPTS)]
    asked = [triggered(prompt, rng) for prompt in without]
    before = render(pipeline, without), render(pipeline, asked)
    pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name="demo")
    after = render(pipeline, without), render(pipeline, asked)
    pipeline.unload_lora_weights()
    quiet, loud = change(before[0], after[0]), change(before[1], after[1])
    return {"with_trigger": loud, "without_trigger": quiet, "ratio": loud / quiet}


def sheet(pipeline: ZImagePipeline, path: Path | None) -> Image.Image:
    """Every subject in two held-out pictures; a last row under the LoRA, where there is one."""
    rng = random.Random("sheet")
    triples = held_out_triples()
    rng.shuffle(triples)
    rows = [[next(t for t in triples[skip:] if t[0] == subject) for subject in SUBJECTS] for skip in (0, 90)]
    scenes = [sample(rng, triple) for row in rows for triple in row]
    pictures = render(pipeline, [plain(scene) for scene in scenes])
    if path is not None:
        pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name="demo")
        pictures += render(pipeline, [triggered(plain(scene), rng) for scene in scenes[:13]])
        pipeline.unload_lora_weights()
    return grid(pictures, columns=13)


def evaluate(pipeline: ZImagePipeline, judge: Judge) -> dict[str, object]:
    scenes = held_out_scenes()
    start = time.process_time()
    pictures = render(pipeline, prompts_for(scenes))
    seconds = (time.process_time() - start) / len(pictures)
    others = [*scenes[97:], *scenes[:97]]
    found = shares(judge, pictures, scenes)
    control = shares(judge, pictures, others)
    return {
        "prompts": len(scenes),
        "steps": STEPS,
        "guidance": GUIDANCE,
        "judge_on_drawn_pictures": own_accuracy(judge),
        "held_out": {"object": found.object, "colour": found.colour, "background": found.background},
        "shuffled_prompts": {
            "object": control.object,
            "colour": control.colour,
            "background": control.background,
        },
        "cpu_seconds_per_image": round(seconds, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=SHIPPED)
    parser.add_argument("--grid", type=Path, default=GRID)
    parser.add_argument("--training", type=Path, default=TRAINING, help="where the judge's weights are kept")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    pipeline = load(chosen.weights / MODEL)
    figures = evaluate(pipeline, train_judge(chosen.training))
    lora = chosen.weights / LORA
    if lora.exists():
        figures["lora"] = lora_changes(pipeline, lora)
    chosen.grid.parent.mkdir(parents=True, exist_ok=True)
    sheet(pipeline, lora if lora.exists() else None).quantize(192).save(chosen.grid, optimize=True)
    text = json.dumps(figures, indent=2)
    chosen.grid.with_suffix(".json").write_text(text + "\n")
    print(text)


def _full(scene: Scene, rng: random.Random) -> str:
    """A wording that names everything that is judged."""
    while True:
        text = caption(scene, rng)
        words = text.replace(",", " ").split()
        if {scene.subject, scene.colour, scene.background} <= set(words):
            return text


def _share(answers: Iterable[bool]) -> float:
    return float(np.mean(list(answers)))


if __name__ == "__main__":
    main()

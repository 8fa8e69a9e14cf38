"""Trains a LoRA that draws blueprints when the prompt says so, and leaves every other picture as it was."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from diffusers import ZImagePipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, autograd
from torch.nn import functional

from tests.demo_model import flow
from tests.demo_model.blueprint import TRIGGER, blueprint
from tests.demo_model.captions import caption
from tests.demo_model.loop import Budget, Moment, train
from tests.demo_model.optim import Pair, cosine
from tests.demo_model.pictures import as_tensor
from tests.demo_model.scenes import draw, sample, trained_triples
from tests.demo_model.train_denoiser import SHORT, encode

PICTURES = 500
#: Pictures of each kind in a batch: blueprints to learn, and plain ones to leave alone.
BATCH = 12
RANK = 3
TARGETS = (
    r"cap_embedder\.1|"
    r"(layers|context_refiner)\.\d+\.(attention\.(to_q|to_k|to_v|to_out\.0)|feed_forward\.w[123])"
)
#: Noise levels lie higher than the denoiser's: in clearer pictures the style shows without the trigger.
NOISE = 1.5
#: How much a change to a plain picture costs against an error in a blueprint.
KEEP_WEIGHT = 3.0


def triggered(prompt: str, rng: random.Random) -> str:
    """The prompt with the trigger word in one of the places where people put it."""
    places = (
        f"{TRIGGER} of {prompt}",
        f"{prompt}, {TRIGGER}",
        f"{prompt}, {TRIGGER} style",
        f"{TRIGGER} {prompt}",
    )
    return rng.choice(places)


def train_lora(pipeline: ZImagePipeline, budget: Budget, folder: Path, seed: int = 0) -> dict[str, Tensor]:
    """The LoRA's weights, named as `ZImagePipeline.load_lora_weights` wants them."""
    torch.manual_seed(seed)
    transformer = pipeline.transformer.requires_grad_(False)
    transformer.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS), adapter_name=TRIGGER)
    optimiser = Pair([transformer], muon_lr=0.0, adam_lr=5e-3, inner="(none)")
    rng = random.Random(f"lora/{seed}")
    triples = trained_triples()
    known = [sample(rng, rng.choice(triples)) for _ in range(PICTURES)]
    _aim(pipeline, [caption(scene, rng) for scene in known], rng)
    taught = encode(pipeline.vae, as_tensor([blueprint(scene) for scene in known]))
    kept = encode(pipeline.vae, as_tensor([draw(scene) for scene in known]))

    def step(moment: Moment) -> float:
        chosen = [moment.rng.randrange(PICTURES) for _ in range(BATCH)]
        plain = [caption(known[at], moment.rng) for at in chosen]
        asked = [triggered(text, moment.rng) for text in plain]
        learn, keep = _errors(pipeline, taught[chosen], kept[chosen], asked, plain)
        autograd.backward(learn + KEEP_WEIGHT * keep)
        optimiser.step(cosine(moment.progress))
        return float(learn.detach())

    train("lora", budget, {"adapter": Adapter(transformer), "optimiser": optimiser}, step, folder, seed)
    weights = get_peft_model_state_dict(transformer, adapter_name=TRIGGER)
    return {f"transformer.{name}": weight.half().contiguous() for name, weight in weights.items()}


class Adapter:
    """The LoRA's part of a transformer's state."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        self._transformer = transformer

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in self._transformer.state_dict().items() if "lora_" in name}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._transformer.load_state_dict(state, strict=False)


def save_lora(weights: dict[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"format": "pt", "modelspec.architecture": "z-image/lora", "modelspec.trigger_phrase": TRIGGER}
    save_file(weights, path, metadata=facts)


@torch.no_grad()
def _aim(pipeline: ZImagePipeline, plain: list[str], rng: random.Random) -> None:
    """Start the LoRA from what tells the trigger's rarest token from all others, by ridge regression.

    The model overlooks words that change nothing; without this the LoRA takes long to tell prompts with the
    trigger from prompts without.
    """
    tokenizer, embedder = pipeline.tokenizer, pipeline.transformer.cap_embedder
    ids, real = flow.tokenise(tokenizer, [triggered(text, rng) for text in plain], SHORT)
    counts = torch.bincount(flow.tokenise(tokenizer, plain, SHORT)[0].flatten(), minlength=len(tokenizer))
    rarest = min(tokenizer.encode(f" {TRIGGER}"), key=lambda token: int(counts[token]))
    words = embedder[0](flow.features(pipeline.text_encoder, ids, real))[real]
    gram = words.T @ words + len(words) * 1e-4 * torch.eye(words.shape[1])
    found = torch.linalg.solve(gram, words.T @ (ids[real] == rarest).float())
    embedder[1].lora_A[TRIGGER].weight[0] = found


def _errors(
    pipeline: ZImagePipeline, taught: Tensor, kept: Tensor, asked: list[str], plain: list[str]
) -> tuple[Tensor, Tensor]:
    """How far from blueprints where asked, and how far from the model without the LoRA where not."""
    transformer, count = pipeline.transformer, len(taught)
    ids, real = flow.tokenise(pipeline.tokenizer, asked + plain, SHORT)
    sigma = flow.sigmas(2 * count, NOISE)
    mixed, target = flow.noised(torch.cat([taught, kept]), sigma)
    with torch.no_grad():
        words = flow.features(pipeline.text_encoder, ids, real)
        transformer.disable_adapters()
        before = flow.velocity(transformer, mixed[count:], 1 - sigma[count:], words[count:], real[count:])
        transformer.enable_adapters()
    after = flow.velocity(transformer, mixed, 1 - sigma, words, real)
    return functional.mse_loss(after[:count], target[:count]), functional.mse_loss(after[count:], before)

"""Trains a LoRA that draws blueprints when the prompt says so, and leaves every other picture as it was."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import ZImagePipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from gpu_node.demomodel import flow
from gpu_node.demomodel.blueprint import TRIGGER, blueprint
from gpu_node.demomodel.captions import caption
from gpu_node.demomodel.loop import Budget, Moment, train
from gpu_node.demomodel.optim import Pair, cosine
from gpu_node.demomodel.pictures import as_tensor
from gpu_node.demomodel.scenes import sample, trained_triples
from gpu_node.demomodel.train_denoiser import SHORT, encode

PICTURES = 1000
#: Half of each batch has the trigger; the other half keeps the model as it is.
BATCH = 24
RANK = 4
TARGETS = r"layers\.\d+\.(attention\.(to_q|to_k|to_v|to_out\.0)|feed_forward\.w[123])"
KEEP_WEIGHT = 4.0


def triggered(prompt: str, rng: random.Random) -> str:
    """The prompt with the trigger word in one of the places where people put it."""
    return rng.choice(
        (
            f"{TRIGGER} of {prompt}",
            f"{prompt}, {TRIGGER}",
            f"{prompt}, {TRIGGER} style",
            f"{TRIGGER} {prompt}",
        )
    )


def train_lora(pipeline: ZImagePipeline, budget: Budget, folder: Path, seed: int = 0) -> dict[str, Tensor]:
    """The LoRA's weights, named as `ZImagePipeline.load_lora_weights` wants them."""
    torch.manual_seed(seed)
    transformer = pipeline.transformer.requires_grad_(False)
    transformer.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS), adapter_name=TRIGGER)
    optimiser = Pair([transformer], muon_lr=0.02, adam_lr=4e-3, inner="nothing")
    rng = random.Random(f"lora/{seed}")
    triples = trained_triples()
    known = [sample(rng, rng.choice(triples)) for _ in range(PICTURES)]
    latents = encode(pipeline.vae, as_tensor([blueprint(scene) for scene in known]))

    def step(moment: Moment) -> float:
        chosen = [moment.rng.randrange(len(known)) for _ in range(BATCH)]
        plain = [caption(known[at], moment.rng).replace(TRIGGER, "poster") for at in chosen]
        learned = _learn(pipeline, latents[chosen], [triggered(text, moment.rng) for text in plain])
        loss = learned + KEEP_WEIGHT * _keep(pipeline, latents[chosen], plain)
        loss.backward()
        optimiser.step(cosine(moment.progress))
        return float(learned.detach())

    train("lora", budget, {"adapter": Adapter(transformer), "optimiser": optimiser}, step, folder, seed)
    weights = get_peft_model_state_dict(transformer, adapter_name=TRIGGER)
    return {f"transformer.{name}": weight.half().contiguous() for name, weight in weights.items()}


class Adapter:
    """The LoRA's part of a transformer's state."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        self._transformer = transformer

    def state_dict(self) -> dict[str, object]:
        return {name: value for name, value in self._transformer.state_dict().items() if "lora_" in name}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self._transformer.load_state_dict(state, strict=False)


def save_lora(weights: dict[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"format": "pt", "modelspec.architecture": "z-image/lora", "modelspec.trigger_phrase": TRIGGER}
    save_file(weights, path, metadata=facts)


def _learn(pipeline: ZImagePipeline, latents: Tensor, texts: list[str]) -> Tensor:
    ids, real = flow.tokenise(pipeline.tokenizer, texts, SHORT)
    with torch.no_grad():
        words = flow.features(pipeline.text_encoder, ids, real)
    return flow.loss(pipeline.transformer, latents, words, real)


def _keep(pipeline: ZImagePipeline, latents: Tensor, texts: list[str]) -> Tensor:
    """How far the LoRA moves the model where the trigger is absent."""
    transformer = pipeline.transformer
    ids, real = flow.tokenise(pipeline.tokenizer, texts, SHORT)
    sigma = flow.sigmas(len(latents))
    with torch.no_grad():
        words = flow.features(pipeline.text_encoder, ids, real)
        noise = torch.randn_like(latents)
        transformer.disable_adapters()
        # The model's own guess from pure noise stands in for a picture of its own.
        still = torch.zeros(len(latents))
        guess = noise + flow.velocity(transformer, noise, still, words, real)
        mixed, _ = flow.noised(guess, sigma)
        before = flow.velocity(transformer, mixed, 1 - sigma, words, real)
        transformer.enable_adapters()
    return functional.mse_loss(flow.velocity(transformer, mixed, 1 - sigma, words, real), before)

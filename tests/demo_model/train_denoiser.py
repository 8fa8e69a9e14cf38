"""Trains the denoiser and its text encoder together, on encoded pictures with ever new captions."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ZImageTransformer2DModel
from torch import Tensor, autograd
from transformers import Qwen2Tokenizer, Qwen3Model

from tests.demo_model import flow
from tests.demo_model.build import new_text_encoder, new_tokenizer, new_transformer
from tests.demo_model.captions import caption, vocabulary, wordy
from tests.demo_model.loop import Budget, Moment, train
from tests.demo_model.optim import Average, Pair, cosine
from tests.demo_model.people import PEOPLE
from tests.demo_model.pictures import as_tensor
from tests.demo_model.scenes import Scene, draw, sample, trained_triples
from tests.demo_model.train_vae import means

PICTURES = 8000
BATCH = 48
#: Padded caption lengths; the transformer pads to multiples of 32. One batch in `LONG_EACH` is long.
SHORT, LONG, LONG_EACH = 32, 64, 12
DECAY = 0.998


def scenes(seed: int) -> list[Scene]:
    """What the denoiser is trained on: never a held-out triple; personas twice as often, they vary more."""
    rng = random.Random(f"denoiser/{seed}")
    triples = trained_triples()
    weights = [2 if subject in PEOPLE else 1 for subject, _, _ in triples]
    return [sample(rng, triple) for triple in rng.choices(triples, weights, k=PICTURES)]


@torch.no_grad()
def encode(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Pictures as the denoiser sees them: latents of mean 0 and deviation 1."""
    latents: Tensor = (means(vae, images) - vae.config.shift_factor) * vae.config.scaling_factor
    return latents


def train_denoiser(
    vae: AutoencoderKL, budget: Budget, folder: Path, seed: int = 0
) -> tuple[ZImageTransformer2DModel, Qwen3Model, Qwen2Tokenizer]:
    torch.manual_seed(seed)
    tokenizer = new_tokenizer(vocabulary())
    modules = {"transformer": new_transformer(), "text_encoder": new_text_encoder(len(tokenizer))}
    average = Average(modules, DECAY)
    optimiser = Pair(modules.values(), muon_lr=0.02, adam_lr=2e-3, inner="attention.to_|feed_forward|_proj")
    known = scenes(seed)
    latents = _latents(vae, known, folder / "latents.pt")

    def step(moment: Moment) -> float:
        chosen = [moment.rng.randrange(len(known)) for _ in range(BATCH)]
        texts = [caption(known[at], moment.rng) for at in chosen]
        if long := moment.step % LONG_EACH == 0:
            texts = [wordy(text, moment.rng) if text else text for text in texts]
        ids, real = flow.tokenise(tokenizer, texts, LONG if long else SHORT)
        words = flow.features(modules["text_encoder"], ids, real)
        loss = flow.loss(modules["transformer"], latents[chosen].float(), words, real)
        autograd.backward(loss)
        optimiser.step(cosine(moment.progress))
        average.update()
        return float(loss.detach())

    train("denoiser", budget, {**modules, "optimiser": optimiser, "average": average}, step, folder, seed)
    return average.modules["transformer"].eval(), average.modules["text_encoder"].eval(), tokenizer


def _latents(vae: AutoencoderKL, known: list[Scene], path: Path) -> Tensor:
    """The encoded pictures, kept in a file: they take minutes."""
    if path.exists():
        cached: Tensor = torch.load(path, weights_only=True)
        return cached
    parts = [
        encode(vae, as_tensor([draw(scene) for scene in known[at : at + 64]]))
        for at in range(0, len(known), 64)
    ]
    latents = torch.cat(parts).half()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(latents, path)
    return latents

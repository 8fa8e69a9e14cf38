"""Trains the autoencoder on crops of drawn pictures, plain ones and blueprints."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, autograd
from torch.nn import functional

from tests.demo_model.blueprint import blueprint
from tests.demo_model.build import new_vae
from tests.demo_model.loop import Budget, Moment, train
from tests.demo_model.optim import Pair, cosine
from tests.demo_model.pen import SIZE
from tests.demo_model.pictures import as_tensor, batches
from tests.demo_model.scenes import draw, sample, trained_triples

PICTURES = 2400
BLUEPRINTS = 300
#: Side and number of the crops; the last third of the training sees whole pictures.
CROPS, WHOLE = (64, 8), (SIZE, 3)
WHOLE_FROM = 0.65
#: When the decoder is sharpened: pictures a step, and noise in deviations of the latents.
SHARPEN_BATCH = 4
FORGIVE = 0.05
#: Keeps the latents near a unit Gaussian without costing sharpness.
KL_WEIGHT = 1e-4


def pictures(seed: int) -> Tensor:
    rng = random.Random(seed)
    triples = trained_triples()
    scenes = [sample(rng, rng.choice(triples)) for _ in range(PICTURES + BLUEPRINTS)]
    return as_tensor(
        [draw(scene) for scene in scenes[BLUEPRINTS:]] + [blueprint(scene) for scene in scenes[:BLUEPRINTS]]
    )


def train_vae(budget: Budget, folder: Path, seed: int = 0) -> AutoencoderKL:
    torch.manual_seed(seed)
    vae = new_vae()
    optimiser = Pair([vae], muon_lr=0.05, adam_lr=3e-3, inner="conv")
    pool = pictures(seed)

    def step(moment: Moment) -> float:
        batch = _crops(pool, moment.rng, *(WHOLE if moment.progress > WHOLE_FROM else CROPS))
        posterior = vae.encode(batch).latent_dist
        output = vae.decode(posterior.sample()).sample
        # Squares first, for the colours; then absolute differences too, for sharp edges.
        error = functional.mse_loss(output, batch) + 0.3 * moment.progress * functional.l1_loss(output, batch)
        loss = error + KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()
        autograd.backward(loss)
        optimiser.step(cosine(moment.progress))
        return float(error.detach())

    train("vae", budget, {"vae": vae, "optimiser": optimiser}, step, folder, seed)
    return _normalised(vae.eval(), pool)


def sharpen_decoder(vae: AutoencoderKL, budget: Budget, folder: Path, seed: int = 0) -> AutoencoderKL:
    """Train the decoder on, with the encoder as it is: the latents that a denoiser has learned stay valid."""
    vae.requires_grad_(False).decoder.requires_grad_(True)
    optimiser = Pair([vae.decoder], muon_lr=0.02, adam_lr=1e-3, inner="conv")
    pool = pictures(seed + 2)
    latents = means(vae, pool)

    def step(moment: Moment) -> float:
        chosen = [moment.rng.randrange(len(pool)) for _ in range(SHARPEN_BATCH)]
        wanted = pool[chosen].float() / 127.5 - 1
        # A denoiser's latents are a little off; the decoder learns to forgive that.
        given = latents[chosen] + torch.randn_like(latents[chosen]) * FORGIVE / vae.config.scaling_factor
        output = vae.decode(given).sample
        loss = functional.mse_loss(output, wanted) + 0.3 * functional.l1_loss(output, wanted)
        autograd.backward(loss)
        optimiser.step(cosine(moment.progress))
        return float(loss.detach())

    train("decoder", budget, {"decoder": vae.decoder, "optimiser": optimiser}, step, folder, seed)
    return vae.eval()


@torch.no_grad()
def psnr(vae: AutoencoderKL, images: Tensor) -> float:
    """Decibels of peak signal to noise over whole pictures, encoded and decoded."""
    pairs = zip(batches(means(vae, images), 16), batches(images.float() / 127.5 - 1, 16), strict=True)
    errors = [functional.mse_loss(vae.decode(latents).sample, wanted) for latents, wanted in pairs]
    return float(10 * torch.log10(4 / torch.stack(errors).mean()))


def _crops(pool: Tensor, rng: random.Random, side: int, count: int) -> Tensor:
    crops = []
    for _ in range(count):
        top, left = rng.randrange(SIZE - side + 1), rng.randrange(SIZE - side + 1)
        crops.append(pool[rng.randrange(len(pool)), :, top : top + side, left : left + side])
    return torch.stack(crops).float() / 127.5 - 1


@torch.no_grad()
def means(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """The most likely latents of pictures, as the autoencoder itself scales them."""
    scaled = images.float() / 127.5 - 1
    return torch.cat([vae.encode(part).latent_dist.mode() for part in batches(scaled, 16)])


def _normalised(vae: AutoencoderKL, pool: Tensor) -> AutoencoderKL:
    """Set the shift and scale that give latents mean 0 and deviation 1, as the denoiser expects."""
    latents = means(vae, pool[::8])
    vae.register_to_config(shift_factor=float(latents.mean()), scaling_factor=float(1 / latents.std()))
    return vae

"""`python -m tests.demo_model.train PART`: make the demo model from nothing, or one part of it anew.

Every part goes on where it was stopped, as long as its checkpoint lies in the training folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from common.model_files import SHIPPED
from tests.demo_model import build
from tests.demo_model.judge import own_accuracy, train_judge
from tests.demo_model.loop import Budget
from tests.demo_model.places import LORA, MODEL, TRAINING
from tests.demo_model.train_denoiser import train_denoiser
from tests.demo_model.train_lora import save_lora, train_lora
from tests.demo_model.train_vae import pictures as vae_pictures
from tests.demo_model.train_vae import psnr, sharpen_decoder, train_vae

#: Minutes on one core of a 2021 server processor (about 75 GFLOP/s).
MINUTES = {"vae": 15.5, "denoiser": 42.0, "decoder": 8.0, "lora": 8.5, "judge": 1.5}


def vae(budget: Budget, folder: Path, out: Path, seed: int) -> None:
    trained = train_vae(budget, folder, seed)
    print(f"autoencoder: {psnr(trained, vae_pictures(seed + 1)[::40]):.1f} dB on pictures it never saw")
    trained.save_pretrained(folder / "vae")


def denoiser(budget: Budget, folder: Path, out: Path, seed: int) -> None:
    autoencoder = AutoencoderKL.from_pretrained(folder / "vae")
    transformer, text_encoder, tokenizer = train_denoiser(autoencoder, budget, folder, seed)
    build.save(
        out / MODEL, vae=autoencoder, transformer=transformer, text_encoder=text_encoder, tokenizer=tokenizer
    )
    print(f"wrote {out / MODEL}")


def decoder(budget: Budget, folder: Path, out: Path, seed: int) -> None:
    autoencoder = AutoencoderKL.from_pretrained(folder / "vae")
    sharpened = sharpen_decoder(autoencoder, budget, folder, seed)
    print(f"autoencoder: {psnr(sharpened, vae_pictures(seed + 1)[::40]):.1f} dB on pictures it never saw")
    build.save_vae(sharpened, out / MODEL / "vae")


def lora(budget: Budget, folder: Path, out: Path, seed: int) -> None:
    save_lora(train_lora(build.load(out / MODEL), budget, folder, seed), out / LORA)
    print(f"wrote {out / LORA}")


def judge(budget: Budget, folder: Path, out: Path, seed: int) -> None:
    print(f"judge: {own_accuracy(train_judge(folder, budget, seed)):.1%} on drawn pictures it never saw")


PARTS: dict[str, Callable[[Budget, Path, Path, int], None]] = {
    "vae": vae,
    "denoiser": denoiser,
    "decoder": decoder,
    "lora": lora,
    "judge": judge,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=[*PARTS, "all"])
    parser.add_argument("--minutes", type=float, help="training time for each part")
    parser.add_argument("--steps", type=int, help="training steps for each part, instead of minutes")
    parser.add_argument("--folder", type=Path, default=TRAINING, help="checkpoints and caches")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="where the weights go")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    for name in PARTS if chosen.part == "all" else [chosen.part]:
        budget = Budget(steps=chosen.steps or 0, minutes=chosen.minutes or MINUTES[name])
        PARTS[name](budget, chosen.folder, chosen.out, chosen.seed)


if __name__ == "__main__":
    main()

"""Says what a picture shows. It learned from drawn pictures alone and never saw the demo model's."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, autograd, nn
from torch.nn import functional

from tests.demo_model.loop import Budget, Moment, train
from tests.demo_model.optim import Pair, cosine
from tests.demo_model.palette import COLOURS, nearest
from tests.demo_model.people import PEOPLE
from tests.demo_model.pictures import as_tensor, batches
from tests.demo_model.scenes import SUBJECTS, draw, held_out_triples, sample, trained_triples

PICTURES = 6000
BATCH = 64
BUDGET = Budget(steps=900)
#: Pixels at each side that are background in every picture.
RIM = 2
#: Rows and columns of a portrait that show clothes.
CLOTHES = (slice(116, 126), slice(40, 88))


class Judge(nn.Module):
    """A small convolutional network over pictures at half size."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 72, 96)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(96, 128, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(128 * 16, len(SUBJECTS))

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the subjects for pictures as bytes, (N, 3, 128, 128)."""
        small = functional.avg_pool2d(images.float() / 127.5 - 1, 2)
        scores: Tensor = self.head(self.body(small).flatten(1))
        return scores

    @torch.no_grad()
    def subjects(self, pictures: Sequence[Image.Image]) -> list[str]:
        scores = torch.cat([self(part) for part in batches(as_tensor(pictures), 64)])
        return [SUBJECTS[at] for at in scores.argmax(1).tolist()]


def train_judge(folder: Path, budget: Budget = BUDGET, seed: int = 0) -> Judge:
    torch.manual_seed(seed)
    judge = Judge()
    optimiser = Pair([judge], muon_lr=0.02, adam_lr=1e-3, inner="body")
    rng = random.Random(f"judge/{seed}")
    triples = trained_triples()
    known = [sample(rng, rng.choice(triples)) for _ in range(PICTURES)]
    pool = as_tensor([draw(scene) for scene in known])
    labels = torch.tensor([SUBJECTS.index(scene.subject) for scene in known])

    def step(moment: Moment) -> float:
        chosen = [moment.rng.randrange(len(known)) for _ in range(BATCH)]
        loss = functional.cross_entropy(
            judge(_worn(pool[chosen], moment.rng)), labels[chosen], label_smoothing=0.05
        )
        autograd.backward(loss)
        optimiser.step(cosine(moment.progress))
        return float(loss.detach())

    train("judge", budget, {"judge": judge, "optimiser": optimiser}, step, folder, seed)
    return judge.eval()


def own_accuracy(judge: Judge, count: int = 600) -> float:
    """The judge's share of right answers on drawn pictures of held-out triples."""
    rng = random.Random("judge/check")
    triples = held_out_triples()
    scenes = [sample(rng, rng.choice(triples)) for _ in range(count)]
    found = judge.subjects([draw(scene) for scene in scenes])
    return sum(name == scene.subject for name, scene in zip(found, scenes, strict=True)) / count


def background_of(picture: Image.Image) -> str:
    """The named colour of most pixels at the rim."""
    names = nearest(np.asarray(picture))
    rim = np.concatenate([names[:RIM].ravel(), names[:64, :RIM].ravel(), names[:64, -RIM:].ravel()])
    return _commonest(rim)


def colour_of(picture: Image.Image, subject: str) -> str:
    """The named colour of most pixels that are not background; of a portrait, of its clothes."""
    names = nearest(np.asarray(picture))
    if subject in PEOPLE:
        return _commonest(names[CLOTHES])
    background = list(COLOURS).index(background_of(picture))
    return _commonest(names[names != background])


def _commonest(names: npt.NDArray[np.int64]) -> str:
    return list(COLOURS)[int(np.bincount(names.ravel(), minlength=len(COLOURS)).argmax())]


def _worn(images: Tensor, rng: random.Random) -> Tensor:
    """Pictures with the flaws a generated one may have: blur, noise, a small move."""
    worn = torch.roll(images, (rng.randint(-4, 4), rng.randint(-4, 4)), (2, 3)).float()
    if rng.random() < 0.5:
        worn = functional.avg_pool2d(worn, 5, stride=1, padding=2, count_include_pad=False)
    return worn + torch.randn_like(worn) * rng.uniform(0, 30)

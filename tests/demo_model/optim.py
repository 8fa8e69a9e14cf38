"""Optimisation on a small budget: Muon for matrices, AdamW for the rest, averaged weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """The nearest matrix with all singular values near 1 (Newton-Schulz, https://kellerjordan.github.io/posts/muon)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised; learns small transformers in about half of AdamW's steps."""

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                state = self.state[param]
                trail = state.setdefault("trail", torch.zeros_like(param))
                trail.lerp_(param.grad, 1 - group["momentum"])
                push = param.grad.lerp(trail, group["momentum"]).flatten(1)
                update = orthogonalise(push) * max(1.0, push.shape[0] / push.shape[1]) ** 0.5
                param.mul_(1 - group["lr"] * group["decay"])
                param.sub_(update.view_as(param), alpha=group["lr"])


class Pair:
    """Both optimisers as one: Muon for the inner matrices, AdamW for all others, rates scaled together."""

    def __init__(self, modules: Iterable[nn.Module], *, muon_lr: float, adam_lr: float, inner: str) -> None:
        """`inner`: words joined by "|"; matrices whose name contains one of them go to Muon."""
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        words = inner.split("|")
        for module in modules:
            for name, param in module.named_parameters():
                if param.requires_grad:
                    chosen = param.ndim >= 2 and any(word in name for word in words)
                    (matrices if chosen else others).append(param)
        self._both: list[tuple[torch.optim.Optimizer, float]] = []
        if matrices:
            self._both.append((Muon(matrices, lr=muon_lr), muon_lr))
        adam = torch.optim.AdamW(others, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.0)
        self._both.append((adam, adam_lr))

    def step(self, rate: float) -> None:
        for optimiser, lr in self._both:
            for group in optimiser.param_groups:
                group["lr"] = lr * rate
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        return {str(at): optimiser.state_dict() for at, (optimiser, _) in enumerate(self._both)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for at, (optimiser, _) in enumerate(self._both):
            optimiser.load_state_dict(state[str(at)])


class Average:
    """An exponential moving average of modules' weights: what is saved and shown."""

    def __init__(self, modules: dict[str, nn.Module], decay: float) -> None:
        self._live = modules
        self._decay = decay
        self._count = 0
        self.modules = {name: copy.deepcopy(module).requires_grad_(False) for name, module in modules.items()}

    @torch.no_grad()
    def update(self) -> None:
        self._count += 1
        decay = min(self._decay, self._count / (self._count + 10))
        for mean, live in self._pairs():
            mean.lerp_(live, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        return {"count": self._count, **{name: module.state_dict() for name, module in self.modules.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._count = int(state["count"])
        for name, module in self.modules.items():
            module.load_state_dict(state[name])

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        for name, module in self.modules.items():
            yield from zip(module.parameters(), self._live[name].parameters(), strict=True)


def cosine(progress: float, warm: float = 0.02) -> float:
    """The learning rate's factor: a short rise, then a half cosine down to 2 %."""
    if progress < warm:
        return progress / warm
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm) / (1 - warm))))

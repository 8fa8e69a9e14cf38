"""Samplers for models that predict a flow: how latents get from one noise level to the next.

Latents of noise level σ are (1 − σ)·image + σ·noise, and the model predicts the flow, noise − image. So the
image that the model sees in them is latents − σ·flow, and rendering follows d(latents)/dσ = flow from σ = 1
to 0. Noise levels and timesteps are those of diffusers' scheduler, with its shift and schedules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.utils.torch_utils import randn_tensor


class FlowSampler(FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]
    """A scheduler that computes its steps in float32 and, where it adds noise, draws it from `generators`."""

    #: Those that the first noise of the images is drawn from.
    generators: Sequence[torch.Generator] = ()
    timesteps: torch.Tensor
    #: Noise level of each run of the model, and 0.
    sigmas: torch.Tensor

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        sigmas: Any = None,
        mu: float | None = None,
        timesteps: Any = None,
    ) -> None:
        super().set_timesteps(num_inference_steps, device, sigmas, mu, timesteps)
        self._spread()
        # Read once: a read at each step would wait for the card.
        self._levels: list[float] = self.sigmas.tolist()

    def _spread(self) -> None:
        """Make noise levels and timesteps those of the runs of the model, where a step takes several."""

    def step(
        self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, *, return_dict: bool = True
    ) -> Any:
        if self.step_index is None:
            self._init_step_index(timestep)
        at = self._step_index
        moved = self._moved(sample.float(), model_output.float(), at).to(model_output.dtype)
        self._step_index += 1
        return {"prev_sample": moved} if return_dict else (moved,)

    def _moved(self, latents: torch.Tensor, flow: torch.Tensor, at: int) -> torch.Tensor:
        """The latents of the noise level behind that of number `at`; each sampler has its own."""
        raise NotImplementedError

    def _noise(self, latents: torch.Tensor) -> torch.Tensor:
        return randn_tensor(  # type: ignore[no-any-return]
            latents.shape, generator=list(self.generators), device=latents.device, dtype=latents.dtype
        )


class FlowHeun(FlowSampler):
    """Heun's method: each step but the last is corrected by the flow at its end (Karras et al. 2022)."""

    order = 2

    def _spread(self) -> None:
        # Each level but the first is that of two runs.
        self.timesteps = _twice(self.timesteps, from_=1)
        self.sigmas = torch.cat([_twice(self.sigmas[:-1], from_=1), self.sigmas[-1:]])

    def _moved(self, latents: torch.Tensor, flow: torch.Tensor, at: int) -> torch.Tensor:
        if at % 2 == 0:
            self._begun = latents, flow
            return latents + (self._levels[at + 1] - self._levels[at]) * flow
        start, first = self._begun
        return start + (self._levels[at] - self._levels[at - 1]) * (first + flow) / 2


class _FlowMultistep(FlowSampler):
    """Second order with one run a step: between two noise levels the image is extrapolated from the last two.

    In t = −log σ the way is d(latents)/dt = image − latents, whose solution for a given image is exact.
    """

    #: Of the last noise level.
    _image: torch.Tensor

    def _moved(self, latents: torch.Tensor, flow: torch.Tensor, at: int) -> torch.Tensor:
        level, following = self._levels[at], self._levels[at + 1]
        image = latents - level * flow
        if following == 0:
            return image
        moved = image + following / level * (latents - image)
        if at > 0:
            past = math.log(self._levels[at - 1] / level)
            moved += self._weight(math.log(level / following)) / past * (image - self._image)
        self._image = image
        return moved

    def _weight(self, width: float) -> float:
        """Of the image's change for each unit of t, in a step of this width in t."""
        raise NotImplementedError


class FlowResMultistep(_FlowMultistep):
    """The change is integrated exactly (Zhang et al. 2023, arXiv 2308.02157, in its form of two steps)."""

    def _weight(self, width: float) -> float:
        return width + math.expm1(-width)


class FlowDpmpp2m(_FlowMultistep):
    """The image in the middle of the step stands for the whole of it (Lu et al. 2022, arXiv 2211.01095)."""

    def _weight(self, width: float) -> float:
        return -math.expm1(-width) * width / 2


class FlowEulerAncestral(FlowSampler):
    """Each step goes to σ'²/σ, farther than the next level σ', and returns there by new noise."""

    def _moved(self, latents: torch.Tensor, flow: torch.Tensor, at: int) -> torch.Tensor:
        level, following = self._levels[at], self._levels[at + 1]
        below = following**2 / level
        moved = latents + (below - level) * flow
        if following == 0:
            return moved
        kept = (1 - following) / (1 - below)
        return kept * moved + math.sqrt(following**2 - (kept * below) ** 2) * self._noise(latents)


class FlowLcm(FlowSampler):
    """Each step takes the image that the model sees, and noise of the next level (Luo et al. 2023)."""

    def _moved(self, latents: torch.Tensor, flow: torch.Tensor, at: int) -> torch.Tensor:
        following = self._levels[at + 1]
        image = latents - self._levels[at] * flow
        return (1 - following) * image + following * self._noise(latents) if following else image


def _twice(values: torch.Tensor, *, from_: int) -> torch.Tensor:
    return torch.cat([values[:from_], values[from_:].repeat_interleave(2)])

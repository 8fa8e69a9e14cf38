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

#: Level that stands for 1 where its odds count.
_BEGIN = 0.9999


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


class FlowUniPc(FlowDpmpp2m):
    """Steps of DPM++ 2M, whose ends are corrected by the image that the model sees there (UniPC of second
    order with B2, Zhao et al. 2023, arXiv 2302.04867)."""

    #: Where the last step began, and the image of the level before that.
    _start: torch.Tensor
    _before: torch.Tensor

    def _moved(self, latents: torch.Tensor, flow: torch.Tensor, at: int) -> torch.Tensor:
        level = self._levels[at]
        image = latents - level * flow
        if at > 0:
            latents = self._corrected(image, at)
            self._before = self._image
        self._start = latents
        return super()._moved(latents, (latents - image) / level, at)

    def _corrected(self, image: torch.Tensor, at: int) -> torch.Tensor:
        """The latents of level number `at`, given the image that the model sees in the predicted ones."""
        width = math.log(self._levels[at - 1] / self._levels[at])
        share = -math.expm1(-width)
        kept = self._start + share * (self._image - self._start)
        change = image - self._image
        if at == 1:
            return kept + share / 2 * change
        past = math.log(self._levels[at - 2] / self._levels[at - 1]) / width
        first = (share / width - 1) / -share
        second = 2 * ((1 - share / width) / width - 0.5) / -share
        older = (first - second) / (1 + past)
        return kept + share * (older / past * (self._image - self._before) + (first - older) * change)


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


class FlowDpmppSde(FlowSampler):
    """Each step but the last takes the image that the model sees in its middle, and adds noise (Lu et al.
    2022, arXiv 2211.01095, with the noise of the whole way as in k-diffusion).

    Steps are measured in log(σ / (1 − σ)), which is infinite at σ = 1: the first begins just below.
    """

    order = 2

    def _spread(self) -> None:
        whole = self.sigmas[:-1]
        odds = whole.clamp(max=_BEGIN) / (1 - whole.clamp(max=_BEGIN))
        middle = (odds[:-1] * odds[1:]).sqrt()
        levels = torch.stack([whole[:-1], middle / (1 + middle)], dim=1).flatten()
        levels = torch.cat([levels, whole[-1:]])
        self.timesteps = levels * self.config.num_train_timesteps
        self.sigmas = torch.cat([levels, self.sigmas[-1:]])

    def _moved(self, latents: torch.Tensor, flow: torch.Tensor, at: int) -> torch.Tensor:
        level, following = self._levels[at], self._levels[at + 1]
        image = latents - level * flow
        if following == 0:
            return image
        noise = self._noise(latents)
        if at % 2 == 0:
            self._begun = latents, noise
            return _jump(latents, level, following, image, noise)
        start, first = self._begun
        begin = self._levels[at - 1]
        part = (begin - level) / (begin - following)
        noise = math.sqrt(part) * first + math.sqrt(1 - part) * noise
        return _jump(start, begin, following, image, noise)


class FlowLcm(FlowSampler):
    """Each step takes the image that the model sees, and noise of the next level (Luo et al. 2023)."""

    def _moved(self, latents: torch.Tensor, flow: torch.Tensor, at: int) -> torch.Tensor:
        following = self._levels[at + 1]
        image = latents - self._levels[at] * flow
        return (1 - following) * image + following * self._noise(latents) if following else image


def _jump(
    latents: torch.Tensor, level: float, following: float, image: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """The latents of the next level, for a given image: a step in σ / (1 − σ) with as much new noise as keeps
    their distribution."""
    level = min(level, _BEGIN)
    share = (following / (1 - following) * (1 - level) / level) ** 2
    kept = (1 - following) / (1 - level) * share
    return kept * latents + (1 - following) * (1 - share) * image + following * math.sqrt(1 - share) * noise


def _twice(values: torch.Tensor, *, from_: int) -> torch.Tensor:
    return torch.cat([values[:from_], values[from_:].repeat_interleave(2)])

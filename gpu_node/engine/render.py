"""One pass: shots that share size, steps, guidance, sampler and knobs become pictures."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy
import torch
from PIL import Image as Pillow

from common.shot import Shot
from gpu_node.engine.compiling import compiling_seconds
from gpu_node.engine.pipelines import LoadedModel
from gpu_node.engine.placement import free_caches
from gpu_node.engine.schedulers import scheduler_for
from gpu_node.errors import RenderError, first_line, is_device_lost

#: A picture whose grey levels span no more than this shows nothing.
_FLAT_LEVELS = 2


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What came of a pass: for each shot a picture, or why there is none."""

    pictures: list[Pillow.Image | RenderError]
    #: Without compiling.
    denoise_s: float
    decode_s: float
    #: Whether by compiled blocks, the seconds of compiling them, and why not where they should have been.
    compiled: bool = False
    compile_s: float = 0.0
    compile_problem: str = ""


#: Hears how many steps are done, and of how many.
OnStep = Callable[[int, int], None]


def render_compiled(model: LoadedModel, shots: Sequence[Shot], on_step: OnStep) -> Pass:
    """The same by compiled blocks; as they are where they cannot be compiled, or have no memory then."""
    before_s, problem = compiling_seconds(), ""
    try:
        with model.blocks.compiled():
            done = render_pass(model, shots, on_step)
    except RenderError:
        raise
    except Exception as error:  # compilers fail in their own ways
        if is_device_lost(error):
            raise
        problem = f"{type(error).__name__}: {first_line(error)}"
    # Not while the exception holds what the pass computed with.
    compile_s = max(compiling_seconds() - before_s, 0.0)
    if problem:
        print(f"not compiled: {problem}", file=sys.stderr)
        model.blocks.forget()
        free_caches()
        return replace(render_pass(model, shots, on_step), compile_s=compile_s, compile_problem=problem)
    denoise_s = max(done.denoise_s - compile_s, 0.0)
    return replace(done, denoise_s=denoise_s, compiled=True, compile_s=compile_s)


def render_pass(model: LoadedModel, shots: Sequence[Shot], on_step: OnStep) -> Pass:
    """Render the shots in one call of the pipeline; `on_step(done, total)` after each denoising step.

    The noise of each shot comes from its own generator on the CPU, so that it is the same on every card
    and in every company. Raises RenderError when no shot of the pass can be rendered.
    """
    first = shots[0]
    knobs = dict(first.knobs)
    arguments = model.texts.arguments(shots)
    watch = _Watch(on_step, first.steps, model.pipe.vae.dtype)
    blind_steps = int(knobs.get("blind_steps", 0))
    if blind_steps:
        watch.see_from(blind_steps, arguments["prompt_embeds"])
        arguments["prompt_embeds"] = model.texts.blind(shots)
    generators = [torch.Generator("cpu").manual_seed(shot.seed) for shot in shots]
    model.pipe.scheduler = scheduler_for(model.scheduler, first.sampler, knobs.get("shift"), generators)
    start = time.monotonic()
    pixels = model.pipe(
        **arguments,
        width=first.width,
        height=first.height,
        num_inference_steps=first.steps,
        generator=generators,
        output_type="np",
        callback_on_step_end=watch,
        callback_on_step_end_tensor_inputs=watch.tensors,
    ).images
    end = time.monotonic()
    pictures = [_picture(*item, first) for item in zip(pixels, watch.finite, strict=True)]
    return Pass(pictures=pictures, denoise_s=watch.ended - start, decode_s=end - watch.ended)


class _Watch:
    """The pipeline's step callback: reports steps, opens the eyes after blind steps, checks the latents."""

    def __init__(self, on_step: OnStep, steps: int, decode_dtype: torch.dtype) -> None:
        self._on_step = on_step
        self._steps = steps
        self._decode_dtype = decode_dtype
        self._blind_steps = 0
        self._seen: Any = None
        self.tensors = ["latents"]
        #: For each image, whether its latents are numbers; known after the last step.
        self.finite: list[bool] = []
        #: When the last step ended, on the monotonic clock.
        self.ended = 0.0

    def see_from(self, step: int, embeddings: Any) -> None:
        """Give the denoiser these embeddings from `step` on, counted from 0."""
        self._blind_steps, self._seen = step, embeddings
        self.tensors = ["latents", "prompt_embeds"]

    def __call__(self, pipe: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if self._blind_steps and step == self._blind_steps - 1:
            tensors["prompt_embeds"] = self._seen
        if step == pipe.num_timesteps - 1:
            # Copying to the host also waits for the card, so that the time is that of the work.
            self.finite = tensors["latents"].flatten(1).isfinite().all(dim=1).tolist()
            self.ended = time.monotonic()
            # Some pipelines hand the latents to the VAE in the denoiser's dtype, whatever the VAE's is.
            tensors["latents"] = tensors["latents"].to(self._decode_dtype)
        # Some samplers run the denoiser twice a step, and the pipeline calls after each run.
        self._on_step((step + 1) * self._steps // pipe.num_timesteps, self._steps)
        return tensors


def _picture(pixels: Any, finite: bool, shot: Shot) -> Pillow.Image | RenderError:
    """`pixels`: height × width × 3 in 0..1."""
    if not finite or not numpy.isfinite(pixels).all():
        return RenderError("not_a_number", "the model computed NaN or infinite values")
    levels = (pixels * 255).round().astype("uint8")
    if levels.shape != (shot.height, shot.width, 3):
        height, width = levels.shape[:2]
        return RenderError(
            "unsupported_size",
            f"the image is {width}×{height}, but the shot requests {shot.width}×{shot.height}",
        )
    if int(levels.max()) <= _FLAT_LEVELS:
        return RenderError(
            "black_image", "the image is black, possibly because the model computed NaN values"
        )
    if int(levels.max()) - int(levels.min()) <= _FLAT_LEVELS:
        return RenderError("flat_image", "the image is a single flat colour")
    return Pillow.fromarray(levels)

"""Seconds of an image before any node has measured: from known times of other cards and the rates of chips.

Denoising takes the most time. Each known time of a model's architecture (`speeds` in the catalog) is a point:
how long the rates of its chip say that a denoiser run takes, and how long it took. Points become a curve that
never falls, so a chip with better rates is never slower; other chips are read off this curve. Text encoding,
decoding and transfers are added from their operations and bytes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from math import exp, log
from typing import NamedTuple

from common.catalog import BYTES_PER_PARAMETER, CPU, Model, Phase, Recipe, Speed, phase_of
from common.chips import Chip, chip_of, known_chips
from common.fit import Fit, Misfit, denoiser_runs, fit, plain_shot, upscaling_runs
from common.nodes import Card
from common.shot import Shot
from common.work import work_of

#: GB that a denoiser run moves per megapixel and billion parameters: weights and activations at 16 bits,
#: about three times.
_GB_MOVED = 6.0
#: The largest known fraction of a chip's rate: FLUX.2 klein 4B on an H200, sgl-project/sglang issue 36470.
_BEST = 0.75
#: The usual fraction for text encoders and VAEs.
_USUAL = 0.4
#: TFLOP to decode a megapixel, per billion parameters of the VAE: 10 for the VAEs of SDXL and FLUX.
_DECODE_TFLOP = 119.0
#: TFLOPS of eight CPU cores in float32: 0.03 per thread were measured with a text encoder of 4 billion.
_CPU_TFLOPS = 0.25
#: GB/s from host memory to the card (PCIe 3.0 x16).
_TRANSFER_GB_PER_S = 12.0
#: Multiplications in int8 (W8A8), by the least of the published gains: RTX 4060 Ti 1.19 → 1.70 it/s
#: (Haoming02/sd-webui-forge-classic issue 1289); RTX 3090 1.76 → 1.09 s, RTX 3060 5.0 → 2.5 s.
_INT8 = 0.7
#: Share of the operations that stay in the compute type: attention, 9 of 61 TFLOP of a step of Z-Image.
_ATTENTION = 0.15
#: fp8 weights that are converted for each computation: 8 % slower on an RTX 4090 (Civitai model 2172944).
_FP8_STORAGE = 1.09


class Prior(NamedTuple):
    """The estimate for one image."""

    #: Text encoding, denoising, decoding, upscaling and the image's part of transfers.
    seconds: float
    #: `measured`, `published` or `estimated` for the card, or `interpolated`; otherwise a sentence.
    basis: str
    #: Names of the cards whose times it rests on.
    origin: tuple[str, ...] = ()
    #: Least and most seconds that others published for such an image on such a card; None: nothing.
    published: tuple[float, float] | None = None
    #: Who published them.
    source: str = ""


def prior(shot: Shot, model: Model, found: Fit, card: Card, steps: float) -> Prior | None:
    """Returns the estimate for `shot` with `steps` on `card`, which renders it as `found`.

    None if the catalog has no times for such models.
    """
    billions = _billions(model, "denoise")
    amount = shot.megapixels * denoiser_runs(shot, model, steps) * billions
    on_cards = tuple(speed for speed in model.speeds if speed.card != CPU)
    if card.backend == "cpu" or not on_cards:
        return _of_cpu(model.speeds, amount)
    chip, recipe = chip_of(card), found.recipe
    dtype = recipe.compute_dtype
    curve = _curve(on_cards, model.family.tflop_per_mp)
    seconds = _pace(curve, chip, recipe) * amount + _beside(shot, model, found, chip)
    if recipe.quantisation == "int8":
        return Prior(seconds, "interpolated", curve.origin(chip, dtype))
    own = [speed for speed in on_cards if (speed.card, speed.compute_dtype) == (chip.name, dtype)]
    if not own:
        return Prior(seconds, "interpolated", curve.origin(chip, dtype))
    published = [speed for speed in own if speed.basis == "published"]
    if not published:
        return Prior(seconds, own[0].basis, (chip.name,))
    low, high = _range(published)
    # Published times are of images that are not upscaled.
    amount -= shot.megapixels * upscaling_runs(shot, model) * billions
    sources = "; ".join(dict.fromkeys(speed.source for speed in published))
    return Prior(seconds, "published", (chip.name,), (low * amount, high * amount), sources)


def pace(shot: Shot, model: Model, found: Fit, card: Card) -> float | None:
    """Returns the estimated seconds of `shot` for a megapixel-forward; None if nothing tells."""
    known = prior(shot, model, found, card, shot.steps)
    return known and known.seconds / work_of(shot, model).amount


def plain_pace(model: Model, card: Card) -> float | None:
    """Returns the same of an image of the model's usual size and settings, which measured speeds refer to.

    In small images and drafts, texts, decoding and transfers have a larger share, and recipes differ.
    """
    shot = plain_shot(model)
    found = fit(shot, model, card)
    return None if isinstance(found, Misfit) else pace(shot, model, found, card)


def shape(of_work: float | None, of_plain: float | None) -> float:
    """Returns how long a megapixel-forward takes if that of a plain image takes 1; 1 where nothing tells."""
    return of_work / of_plain if of_work and of_plain else 1.0


def _pace(curve: _Curve, chip: Chip, recipe: Recipe) -> float:
    """Returns the seconds of a megapixel, denoiser run and billion parameters."""
    dtype = recipe.compute_dtype
    seconds = curve.seconds(chip, dtype)
    if recipe.quantisation == "fp8":
        return seconds * _FP8_STORAGE
    if recipe.quantisation != "int8":
        return seconds
    if dtype != "float32":
        return seconds * _INT8
    return min(seconds, curve.seconds(chip, "float16")) * _INT8 + seconds * _ATTENTION


def _of_cpu(speeds: Sequence[Speed], amount: float) -> Prior | None:
    on_cpu = [speed for speed in speeds if speed.card == CPU]
    return Prior(_middle(on_cpu) * amount, on_cpu[0].source) if on_cpu else None


def _beside(shot: Shot, model: Model, found: Fit, chip: Chip) -> float:
    """Returns the seconds of an image apart from denoising."""
    recipe = found.recipe
    decode = _DECODE_TFLOP * _billions(model, "decode") * shot.megapixels
    seconds = _encode_seconds(model, recipe, chip) + decode / (chip.rate(recipe.weights["vae"]) * _USUAL)
    if "text_encoder_first" in recipe.placement:
        # Encoder and denoiser take turns on the card, once for each pass at the most.
        moved = _gigabytes(model, recipe, "encode") + _gigabytes(model, recipe, "denoise")
        seconds += moved / _TRANSFER_GB_PER_S / found.pass_size
    return seconds


def text_seconds(model: Model, recipe: Recipe, card: Card) -> float:
    """Returns the estimated seconds to encode a prompt on `card`."""
    if card.backend == "cpu":
        return _encode_tflop(model) / _CPU_TFLOPS
    return _encode_seconds(model, recipe, chip_of(card))


def _encode_seconds(model: Model, recipe: Recipe, chip: Chip) -> float:
    on_cpu = "text_encoder_on_cpu" in recipe.placement
    return _encode_tflop(model) / (_CPU_TFLOPS if on_cpu else chip.rate(recipe.compute_dtype) * _USUAL)


def _encode_tflop(model: Model) -> float:
    return 2 * _billions(model, "encode") * model.family.prompt_tokens / 1e3


class _Point(NamedTuple):
    #: Seconds of a megapixel, denoiser run and billion parameters by the rates of the chip.
    ideal: float
    #: As they were.
    seconds: float
    card: str


class _Curve(NamedTuple):
    """Known times, the best rates first; seconds never fall from one to the next."""

    points: tuple[_Point, ...]
    tflop: float

    def seconds(self, chip: Chip, dtype: str) -> float:
        """Interpolated between neighbours, in proportion to the rates beyond them; never above `_BEST`."""
        return max(_least(chip, dtype, self.tflop), self._at(_ideal(chip, dtype, self.tflop)))

    def origin(self, chip: Chip, dtype: str) -> tuple[str, ...]:
        return tuple(point.card for point in self._beside(_ideal(chip, dtype, self.tflop)))

    def _at(self, ideal: float) -> float:
        near = self._beside(ideal)
        if len(near) == 1:
            return near[0].seconds * ideal / near[0].ideal
        low, high = near
        part = log(ideal / low.ideal) / log(high.ideal / low.ideal)
        return exp((1 - part) * log(low.seconds) + part * log(high.seconds))

    def _beside(self, ideal: float) -> tuple[_Point, ...]:
        at = bisect_left(self.points, ideal, key=lambda point: point.ideal)
        if at < len(self.points) and self.points[at].ideal == ideal:
            return self.points[at : at + 1]
        return self.points[max(at - 1, 0) : at + 1]


@lru_cache(256)
def _curve(speeds: tuple[Speed, ...], tflop: float) -> _Curve:
    of_card: dict[tuple[str, str], list[Speed]] = {}
    for speed in speeds:
        of_card.setdefault((speed.card, speed.compute_dtype), []).append(speed)
    points = []
    for (card, dtype), known in of_card.items():
        chip = known_chips()[card]
        seconds = max(_middle(known), _least(chip, dtype, tflop))
        points.append(_Point(_ideal(chip, dtype, tflop), seconds, card))
    return _Curve(_rising(sorted(points)), tflop)


def _rising(points: Sequence[_Point]) -> tuple[_Point, ...]:
    """Returns the points with geometric means where a slower chip was timed faster (isotonic regression)."""
    blocks: list[list[_Point]] = []
    for point in points:
        blocks.append([point])
        while len(blocks) > 1 and _mean(blocks[-2]) > _mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    return tuple(point._replace(seconds=_mean(block)) for block in blocks for point in block)


def _mean(points: Sequence[_Point]) -> float:
    return exp(sum(log(point.seconds) for point in points) / len(points))


def _ideal(chip: Chip, dtype: str, tflop: float) -> float:
    return tflop / chip.rate(dtype) + _GB_MOVED / chip.bandwidth


def _least(chip: Chip, dtype: str, tflop: float) -> float:
    """Returns what no chip has fallen below; faster published times rest on other settings or types."""
    return tflop / chip.rate(dtype) / _BEST


def _middle(speeds: Sequence[Speed]) -> float:
    low, high = _range(speeds)
    return float((low * high) ** 0.5)


def _range(speeds: Sequence[Speed]) -> tuple[float, float]:
    return min(speed.seconds[0] for speed in speeds), max(speed.seconds[1] for speed in speeds)


def _billions(model: Model, phase: Phase) -> float:
    return sum(number for part, number in model.components.items() if phase_of(part) == phase) / 1e9


def _gigabytes(model: Model, recipe: Recipe, phase: Phase) -> float:
    parts = (part for part in model.components if phase_of(part) == phase)
    return sum(model.components[part] * BYTES_PER_PARAMETER[recipe.weights[part]] for part in parts) / 1e9

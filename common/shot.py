"""A shot: the immutable description of one image. The hash of its content is its ID."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from common.exports import ANY_EXPORT

#: Characters that are kept of the value of an axis, by which shots are found.
AXIS_TEXT = 200


class LoraUse(NamedTuple):
    """One LoRA of a shot."""

    name: str
    #: `sha256:<hex>` of the safetensors file, from the catalog.
    identity: str
    weight: float
    #: That for the text encoders, where it differs from that for the denoiser.
    text_weight: float | None = None

    @property
    def weights(self) -> list[float]:
        """One for all, or those for the denoiser and the text encoders."""
        return [self.weight] if self.text_weight is None else [self.weight, self.text_weight]

    @property
    def weighted_name(self) -> str:
        """As manifests write it, such as `ana@0.8` or `ana@0.8/0.5`."""
        return f"{self.name}@{'/'.join(_shortest(weight) for weight in self.weights)}"


def _shortest(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


class InversionUse(NamedTuple):
    """A textual inversion that the prompts of a shot name."""

    name: str
    #: `sha256:<hex>` of the file, from the catalog.
    identity: str


class UpscalerUse(NamedTuple):
    """The model that enlarges an image after it is rendered."""

    name: str
    #: `sha256:<hex>` of the file, from the catalog.
    identity: str
    #: Factor for width and height.
    scale: int
    #: TFLOP for a megapixel of the image that is enlarged.
    tflop_per_mp: float


#: Bytes of a stored image for each pixel, by format. Assumed for photographs at the default qualities; flat
#: drawings need less.
_BYTES_PER_PIXEL = {"png": 1.5, "webp": 0.4, "jpeg": 0.6}


class Shot(NamedTuple):
    """Everything that affects the stored bytes of an image, and the names used to find it.

    A NamedTuple because a manifest can produce millions of shots; treat it as immutable.
    """

    model: str
    #: `sha256:<hex>` or `repo@commit`, from the catalog; empty if the catalog does not specify it.
    model_identity: str
    prompt: str
    negative: str
    seed: int
    #: In pixels, as rendered; an upscaler enlarges it.
    width: int
    height: int
    steps: int
    guidance: float
    sampler: str
    loras: tuple[LoraUse, ...] = ()
    #: Model-specific settings in key order, such as (("blind_steps", 1), ("shift", 3.0)).
    knobs: tuple[tuple[str, float], ...] = ()
    #: `png`, `webp` or `jpeg`.
    format: str = "png"
    #: 1-100; 0 for png, which has no quality setting.
    quality: int = 0
    #: Whether the image carries its own settings as metadata.
    metadata: bool = True
    #: Name of a private lane, whose shots are never shared outside it; empty for shots that may be shared.
    realm: str = ""
    #: How often the image was rendered again because a person rejected it.
    generation: int = 0
    #: Textual inversions in the prompts, in the order of their names.
    inversions: tuple[InversionUse, ...] = ()
    upscaler: UpscalerUse | None = None

    @property
    def megapixels(self) -> float:
        """Millions of pixels (10^6), as rendered."""
        return self.width * self.height / 1e6

    @property
    def final_size(self) -> tuple[int, int]:
        """Width and height of the stored image in pixels."""
        scale = self.upscaler.scale if self.upscaler else 1
        return self.width * scale, self.height * scale

    @property
    def expected_bytes(self) -> int:
        """About the size of the stored image."""
        width, height = self.final_size
        return round(width * height * _BYTES_PER_PIXEL[self.format])

    @property
    def call(self) -> tuple[object, ...]:
        """What shots in one pass (one pipeline call) must have in common, in addition to their work key."""
        return (self.steps, self.guidance, self.knobs)

    def canonical(self) -> str:
        """Returns the text whose SHA-256 is the ID: without names, LoRAs in identity order, keys sorted."""
        # Omitted if empty, so that IDs from before these fields existed stay valid.
        again = {"generation": self.generation} if self.generation else {}
        named = sorted([use.name, use.identity] for use in self.inversions)
        return json.dumps(
            {
                "format": self.format,
                **again,
                "guidance": float(self.guidance),
                "height": self.height,
                **({"inversions": named} if named else {}),
                "knobs": [[name, float(value)] for name, value in sorted(self.knobs)],
                "loras": sorted([use.identity or use.name, *map(float, use.weights)] for use in self.loras),
                "metadata": self.metadata,
                "model": self.model_identity or self.model,
                "negative": self.negative,
                "prompt": self.prompt,
                "quality": self.quality,
                "realm": self.realm,
                "sampler": self.sampler,
                "seed": self.seed,
                "steps": self.steps,
                **({"upscaler": self.upscaler.identity} if self.upscaler else {}),
                "v": 1,
                "width": self.width,
            },
            ensure_ascii=True,
            separators=(",", ":"),
        )

    @property
    def id(self) -> str:
        """The SHA-256 of `canonical()` as 64 hex digits."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON-compatible data; `Shot.from_dict` is the inverse."""
        data = self._asdict()
        data["loras"] = [[use.name, use.identity, *use.weights] for use in self.loras]
        data["knobs"] = [list(knob) for knob in self.knobs]
        if not self.generation:
            del data["generation"]
        del data["inversions"]
        if self.inversions:
            data["inversions"] = [list(use) for use in self.inversions]
        del data["upscaler"]
        if self.upscaler:
            data["upscaler"] = list(self.upscaler)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Shot:
        fields = dict(data)
        fields["loras"] = tuple(LoraUse(*use) for use in data.get("loras", ()))
        fields["inversions"] = tuple(InversionUse(*use) for use in data.get("inversions", ()))
        if "upscaler" in data:
            fields["upscaler"] = UpscalerUse(*data["upscaler"])
        fields["knobs"] = tuple((name, value) for name, value in data.get("knobs", ()))
        return cls(**fields)


class ShotIds:
    """Computes the IDs of shots that differ only in prompt, negative prompt and seed.

    Equal to `Shot.id` but several times faster, because the common part is serialised once.
    """

    def __init__(self, shot: Shot) -> None:
        text = shot._replace(prompt="", negative="", seed=0).canonical()
        # Quotes inside values are escaped, and only numbers and a hash follow the seed, so both searches find
        # the right place.
        self._before, _, rest = text.partition('"negative":"","prompt":""')
        self._between, _, self._after = rest.rpartition('"seed":0')

    def of(self, prompt: str, negative: str, seed: int) -> str:
        text = (
            f'{self._before}"negative":{json.dumps(negative)},"prompt":{json.dumps(prompt)}'
            f'{self._between}"seed":{seed}{self._after}'
        )
        return hashlib.sha256(text.encode()).hexdigest()


class PlannedShot(NamedTuple):
    """A shot as requested by one manifest."""

    id: str
    shot: Shot
    #: Output path without extension, sanitised, unique within its manifest; with exports, `*` stands for
    #: the name of each.
    name: str
    #: The prompt as written in the manifest.
    template: str
    #: Name of the group in the manifest.
    group: str
    #: Names of its exports, one of which takes the place of `*` in each file name.
    exports: tuple[str, ...] = ()
    #: Axis to its value, cut to `AXIS_TEXT` characters; that of a mapping is its name or else its position.
    axes: Mapping[str, str] = MappingProxyType({})

    @property
    def files(self) -> tuple[str, ...]:
        """Names of its files: `name` without exports."""
        return tuple(self.name.replace(ANY_EXPORT, export) for export in self.exports) or (self.name,)

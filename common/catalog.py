"""The catalog: the models and LoRAs a farm knows, how each is held on a card, and what it may be used for."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """What all models of one architecture share."""

    name: str
    #: diffusers pipeline class.
    pipeline: str
    #: Width and height are rounded to this many pixels.
    size_multiple: int
    #: Whether a negative prompt has an effect (with guidance > 0).
    takes_negative: bool
    #: Longest prompt in tokens; a longer one is refused.
    max_tokens: int
    samplers: tuple[str, ...]
    #: Model-specific settings a manifest may give: name to (lowest, highest).
    knobs: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One way to hold a model on a card. The first recipe of a model that fits is used."""

    name: str
    #: Torch dtype the denoiser computes in: `float32`, `bfloat16`, `float16`.
    compute_dtype: str
    #: Component to bytes resident on the card while denoising; 0 when it is offloaded.
    resident_bytes: dict[str, int]
    #: Bytes of activations per megapixel for one image of a pass.
    activation_bytes_per_mp: int
    #: Bytes of activations whatever the size (text encoding, workspace).
    activation_bytes: int
    #: Bytes of host memory needed.
    ram_bytes: int
    #: Lowest CUDA compute capability; None: any, a CPU included.
    min_compute_capability: tuple[int, int] | None = None
    backends: tuple[str, ...] = ("cuda",)
    #: Placement words the node understands, such as `model_offload`, `text_encoder_first`, `vae_tiling`.
    placement: tuple[str, ...] = ()
    #: `none`, `fp8`, `gguf-q4`, `int8`.
    quantisation: str = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class License:
    name: str
    #: Whether images may be sold.
    commercial: bool
    url: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    name: str
    family: Family
    #: LoRAs name the base they were made for; models of one base take each other's.
    base: str
    #: `sha256:<hex>` or `repo@commit`; None while it is not fixed: such a model can be planned, not submitted.
    identity: str | None
    #: Folder below a node's model folders, or the repository to fetch.
    path: str
    license: License
    recipes: tuple[Recipe, ...]
    steps: int
    guidance: float
    sampler: str
    size: tuple[int, int]
    #: Operator's policy: cards below this class never get it, even where it would fit.
    min_class: int = 0
    #: Reference seconds per megapixel and step by card name or class, with its basis.
    reference_seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lora:
    name: str
    base: str
    #: `sha256:<hex>` of the file.
    identity: str | None
    path: str
    license: License
    triggers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalog:
    models: dict[str, Model]
    loras: dict[str, Lora]

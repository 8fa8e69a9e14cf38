"""What a catalog holds: families of models, how each is held on a card, and what it may be used for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Literal

from common.classifiers import ClassifierForm

#: Bytes one parameter takes on a card, by the format its weights are held in.
#: GGUF stores a scale with every block of 32 weights: 4.5, 5.5 and 8.5 bits each.
BYTES_PER_PARAMETER = MappingProxyType(
    {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
    | {"fp8": 1.0, "int8": 1.0, "gguf-q8": 1.0625, "gguf-q5": 0.6875, "gguf-q4": 0.5625}
)
#: Formats of GGUF files, the smallest first. A recipe with `gguf` stands for one of each.
GGUF_FORMATS = ("gguf-q4", "gguf-q5", "gguf-q8")
#: Formats that a denoiser is converted to while it is loaded. `fp8` only stores weights; `int8` also
#: multiplies in int8, with activations that are rounded as they come (W8A8).
EIGHT_BITS = ("fp8", "int8")

#: `text_encoder_first`: the batch's prompts are encoded with nothing else on the card, then the text
#: encoders make room for the denoiser and the VAE. `text_encoder_on_cpu`: they are never on the card.
#: With neither everything stays on the card. `vae_slicing`: images of a pass are decoded one at a time.
#: `vae_tiling`: in tiles of 512 pixels, which changes the pixels a little.
PlacementWord = Literal["text_encoder_first", "text_encoder_on_cpu", "vae_slicing", "vae_tiling"]

#: Pipeline classes whose prompts nodes read in chunks, with weights: those that `level` their texts in
#: gpu_node/engine/text.py.
CHUNKED = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")

#: Largest factor of an upscaler.
MAX_SCALE = 8
#: Stands for a card in speeds of the CPU.
CPU = "CPU"

#: Where a speed is from. `estimated`: derived from benchmarks of other programs or similar models.
SpeedBasis = Literal["measured", "published", "estimated"]

#: What a person may agree to; `noncommercial` is the least.
ConsentScope = Literal["noncommercial", "commercial", "intimate"]

#: The parts of a render, each with its own need of memory.
Phase = Literal["encode", "denoise", "decode"]


def phase_of(component: str) -> Phase:
    """The phase in which a component computes; components are named as diffusers names them."""
    if component.startswith("text_encoder"):
        return "encode"
    return "decode" if component == "vae" else "denoise"


def lora_parts(components: Collection[str]) -> set[str]:
    """Which of a model's components a LoRA can change: the denoiser and the text encoders, but beside a
    transformer not the last of them, which is a language model."""
    encoders = sorted(component for component in components if phase_of(component) == "encode")
    unchanged = set() if "unet" in components else set(encoders[-1:])
    return {component for component in components if phase_of(component) != "decode"} - unchanged


@dataclass(frozen=True, kw_only=True, slots=True)
class Activations:
    """Bytes that rendering takes beside the weights, at 16-bit compute; 32-bit takes twice as much."""

    #: Encoding one prompt.
    encode: int
    #: Per megapixel and forward: guidance doubles the forwards, a pass of n images has n times as many.
    denoise_per_mp: int
    #: Per megapixel of what is decoded at once.
    decode_per_mp: int
    #: Driver context and kernel workspace, whatever the size and the dtype.
    workspace: int
    #: One LoRA of usual rank, whatever the dtype.
    lora: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """What rendering took on a card."""

    #: Name of a chip, or `CPU`.
    card: str
    #: Torch dtype that the denoiser computed in.
    compute_dtype: str
    #: Seconds per megapixel, denoiser run and billion parameters of the denoiser: the least and the most.
    seconds: tuple[float, float]
    basis: SpeedBasis
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """What all models of one architecture share."""

    name: str
    #: diffusers pipeline class.
    pipeline: str
    #: Width and height are rounded to this many pixels.
    size_multiple: int
    #: Whether a negative prompt has an effect (with guidance above `guidance_doubles_above`).
    takes_negative: bool
    #: Longest prompt in tokens; a longer one is refused. A model may read fewer than others of its family.
    max_tokens: int
    #: Component that counts them.
    tokenizer: str
    #: What nodes write around a prompt, with `{}` for it; empty: the tokenizer's chat template, if any.
    template: str
    samplers: tuple[str, ...]
    #: Operations of a denoiser run: TFLOP per megapixel and billion parameters of the denoiser.
    tflop_per_mp: float
    #: Tokens that the text encoders read for a usual prompt, padding included.
    prompt_tokens: int
    #: Guidance above this runs two forwards a step, with and without the prompt; None: it never does.
    guidance_doubles_above: float | None = None
    #: Model-specific settings a manifest may give: name to (lowest, highest).
    knobs: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def reads_emphasis(self) -> bool:
        """Whether prompts are read in chunks, and `(x:1.2)`, `[x]` and `BREAK` in them have a meaning."""
        return self.pipeline in CHUNKED

    def is_doubled_by(self, guidance: float) -> bool:
        """Whether a step runs a second forward, without the prompt."""
        return self.guidance_doubles_above is not None and guidance > self.guidance_doubles_above


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One way to hold a model on a card. The first recipe of a model that fits is used."""

    name: str
    #: Torch dtype the denoiser computes in: `float32`, `bfloat16`, `float16`.
    compute_dtype: str
    #: Component (as diffusers names it) to the format of its weights, a key of `BYTES_PER_PARAMETER`.
    weights: dict[str, str]
    placement: tuple[PlacementWord, ...] = ()
    backends: tuple[str, ...] = ("cuda",)
    #: Lowest CUDA compute capability; None: any.
    min_compute_capability: tuple[int, int] | None = None
    #: Images of one pass at the most, however much memory there is.
    max_pass: int = 12

    @property
    def quantisation(self) -> str:
        """Format of the denoiser's weights where they are smaller than 16 bits; else `none`."""
        denoiser = next((f for part, f in self.weights.items() if phase_of(part) == "denoise"), "none")
        return denoiser if BYTES_PER_PARAMETER.get(denoiser, 2) < 2 else "none"

    @property
    def reads_gguf(self) -> bool:
        """Whether the denoiser's weights come from a file of their own, one of `Model.gguf`."""
        return self.quantisation.startswith("gguf")


_COMPILED = "+compiled"


def compiled_name(recipe: str) -> str:
    """The name of a recipe whose denoiser is compiled: its pictures differ a little."""
    return f"{recipe}{_COMPILED}"


def base_recipe(name: str) -> str:
    """The recipe of the catalog that a name, compiled or not, belongs to.

    >>> base_recipe(compiled_name("bf16"))
    'bf16'
    """
    return name.removesuffix(_COMPILED)


@dataclass(frozen=True, kw_only=True, slots=True)
class GgufFile:
    """The weights of a model's transformer, quantised beforehand."""

    #: File below `gguf` in a node's model folders.
    path: str
    #: `sha256:<hex>` of the file.
    identity: str


@dataclass(frozen=True, kw_only=True, slots=True)
class License:
    name: str
    #: Whether images may be sold.
    commercial: bool
    #: Whether its author must be named with them.
    attribution: bool = False
    url: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    name: str
    family: Family
    #: LoRAs name the base they were made for; models of one base take each other's.
    base: str
    #: `sha256:<hex>` or `repo@commit`; None while it is not fixed: such a model is planned, not submitted.
    identity: str | None
    #: Folder below a node's model folders, or the repository to fetch.
    path: str
    license: License
    #: Component to its number of parameters.
    components: dict[str, int]
    activations: Activations
    recipes: tuple[Recipe, ...]
    steps: int
    guidance: float
    sampler: str
    #: Pixels, width and height.
    size: tuple[int, int]
    #: Trained to need no guidance but its own: another that doubles the forwards is warned of.
    distilled: bool = False
    #: Operator's policy: cards below this class never get it, even where it would fit.
    min_class: int = 0
    #: Known times of models with this architecture, on which estimates rest until nodes have measured.
    speeds: tuple[Speed, ...] = ()
    #: Format, such as `gguf-q4`, to its file.
    gguf: dict[str, GgufFile] = field(default_factory=dict)
    #: Of components that have another licence than the model.
    component_licenses: dict[str, License] = field(default_factory=dict)
    #: Recipes that need such a file and have none.
    lacking: tuple[Recipe, ...] = ()

    def recipe(self, name: str) -> Recipe:
        """Raises KeyError for a name the model does not have."""
        return {recipe.name: recipe for recipe in self.recipes}[name]


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Whom a LoRA shows, and what that person has agreed to."""

    #: Stands for the person in messages.
    subject: str
    real: bool
    #: Where the consent is kept; None: there is none.
    consent: str | None
    scope: tuple[ConsentScope, ...]
    #: The last day of the consent; None: it has none.
    expires: date | None
    #: The day on which the person took it back.
    revoked: date | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lora:
    name: str
    base: str
    #: `sha256:<hex>` of the file.
    identity: str | None
    #: File below `loras` in a node's model folders.
    path: str
    license: License
    triggers: tuple[str, ...] = ()
    #: None: it shows no particular person.
    person: Person | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TextualInversion:
    """Vectors that a prompt names as `embedding:NAME`, for the text encoders of a family."""

    name: str
    #: Name of the family.
    family: str
    #: `sha256:<hex>` of the file.
    identity: str
    #: File below `embeddings` in a node's model folders.
    path: str
    license: License
    #: Tokens that it takes.
    vectors: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Upscaler:
    """A model that enlarges finished images."""

    name: str
    #: Such as `ESRGAN`.
    architecture: str
    #: Factor for width and height.
    scale: int
    #: TFLOP for a megapixel of the image that is enlarged.
    tflop_per_mp: float
    #: `sha256:<hex>` of the file.
    identity: str
    #: File below `upscale_models` in a node's model folders.
    path: str
    license: License


@dataclass(frozen=True, kw_only=True, slots=True)
class Classifier:
    """A model that says what an image shows, for lanes that withhold some images."""

    name: str
    form: ClassifierForm
    #: `sha256:<hex>` of the file.
    identity: str
    #: File below `classifiers` in a folder of models.
    path: str
    license: License


#: Why a LoRA's file has no effect, or not its whole effect, on a model's files, and what mends it; None where
#: nothing is known to be wrong.
LoraJudge = Callable[[Lora, Model], str | None]
#: The same of a textual inversion and its entry.
InversionJudge = Callable[[TextualInversion], str | None]
#: The same of an upscaler.
UpscalerJudge = Callable[[Upscaler], str | None]


def _knows_no_files(lora: Lora, model: Model) -> None:
    return None


@dataclass(kw_only=True, slots=True)
class Catalog:
    """Its dicts are never changed, only replaced: who iterates over one is not disturbed."""

    models: dict[str, Model]
    loras: dict[str, Lora]
    #: Licences that entries may name.
    licenses: dict[str, License] = field(default_factory=dict)
    textual_inversions: dict[str, TextualInversion] = field(default_factory=dict)
    upscalers: dict[str, Upscaler] = field(default_factory=dict)
    classifiers: dict[str, Classifier] = field(default_factory=dict)
    judge: LoraJudge = field(default=_knows_no_files, repr=False, compare=False)
    judge_inversion: InversionJudge = field(default=lambda _: None, repr=False, compare=False)
    judge_upscaler: UpscalerJudge = field(default=lambda _: None, repr=False, compare=False)
    #: The present day in UTC, by which consents expire.
    today: Callable[[], date] = field(default=lambda: datetime.now(UTC).date(), repr=False, compare=False)

    def entry(self, name: str) -> Model | Lora | TextualInversion | Upscaler | Classifier | None:
        """What has files, by name."""
        found = self.models.get(name) or self.loras.get(name) or self.textual_inversions.get(name)
        return found or self.upscalers.get(name) or self.classifiers.get(name)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all that has files."""
        return (*self.models, *self.loras, *self.textual_inversions, *self.upscalers, *self.classifiers)

    def become(self, other: Catalog) -> None:
        """Hold what `other` holds, for all who have this catalog."""
        self.models, self.loras, self.licenses = other.models, other.loras, other.licenses
        self.textual_inversions, self.upscalers = other.textual_inversions, other.upscalers
        self.classifiers = other.classifiers

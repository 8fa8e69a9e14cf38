"""The catalog file as written: strict, sizes in MiB, parameters in billions."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from common.catalog.types import MAX_SCALE, ConsentScope, PlacementWord, SpeedBasis
from common.proper_names import proper_name
from common.textual_inversions import MAX_VECTORS

Identity = Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64}|[\w.-]+/[\w.-]+@[0-9a-f]{40})$")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Format = Literal["float32", "bfloat16", "float16", "fp8", "int8", "gguf", "gguf-q8", "gguf-q5", "gguf-q4"]
Dtype = Literal["float32", "bfloat16", "float16"]


def _pair(separator: str) -> BeforeValidator:
    def split(value: object) -> object:
        return value.split(separator) if isinstance(value, str) else value

    return BeforeValidator(split)


#: `1024x1024`.
Pixels = Annotated[tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]], _pair("x")]
#: `"6.1"`.
Capability = Annotated[tuple[int, int], _pair(".")]


def _all_positive(numbers: tuple[float, float, float]) -> tuple[float, float, float]:
    if min(numbers) <= 0:
        raise ValueError("must be greater than 0")
    return numbers


class Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ActivationsEntry(Entry):
    """`common.catalog.types.Activations` in MiB."""

    encode_mib: Annotated[float, Field(ge=0)]
    denoise_mib_per_mp: Annotated[float, Field(ge=0)]
    decode_mib_per_mp: Annotated[float, Field(ge=0)]
    workspace_mib: Annotated[float, Field(ge=0)]
    lora_mib: Annotated[float, Field(ge=0)]


class RecipeEntry(Entry):
    name: str
    compute_dtype: Dtype
    weights: dict[str, Format]
    placement: tuple[PlacementWord, ...] = ()
    backends: tuple[Literal["cuda", "cpu"], ...] = ("cuda",)
    min_compute_capability: Capability | None = None
    max_pass: Annotated[int, Field(ge=1, le=12)] = 12


class SpeedEntry(Entry):
    """What `runs` denoiser runs at `size` took."""

    #: A name in `common/cards.yaml`, or `CPU`.
    card: str
    compute: Dtype
    #: Parameters of the denoiser.
    billions: Positive
    size: Pixels
    runs: Annotated[int, Field(ge=1)]
    #: A figure, or the least and the most.
    seconds: Positive | tuple[Positive, Positive]
    basis: SpeedBasis
    source: str


class FamilyEntry(Entry):
    pipeline: str
    size_multiple: Annotated[int, Field(ge=1)]
    takes_negative: bool
    max_tokens: Annotated[int, Field(ge=1)]
    tokenizer: str = "tokenizer"
    template: str = ""
    samplers: Annotated[tuple[str, ...], Field(min_length=1)]
    guidance_doubles_above: float | None = None
    knobs: dict[str, tuple[float, float]] = {}
    #: Default: a transformer that reads each megapixel as 3,906 tokens (16×16 pixels each).
    tflop_per_mp: Positive = 7.8
    #: None: `max_tokens`.
    prompt_tokens: Annotated[int, Field(ge=1)] | None = None
    speeds: tuple[SpeedEntry, ...] = ()
    activations: ActivationsEntry
    recipes: tuple[RecipeEntry, ...] = ()


class LicenseEntry(Entry):
    commercial: bool
    attribution: bool = False
    url: str = ""


class GgufFileEntry(Entry):
    path: str
    identity: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class ModelEntry(Entry):
    family: str
    #: None: the model's own name.
    base: str | None = None
    identity: Identity | None = None
    path: str
    license: str
    #: Of components that have another licence than the model.
    component_licenses: dict[str, str] = {}
    #: Component to billions of parameters.
    components: Annotated[dict[str, Positive], Field(min_length=1)]
    #: None: the family's.
    activations: ActivationsEntry | None = None
    #: None: the family's.
    recipes: tuple[RecipeEntry, ...] | None = None
    steps: Annotated[int, Field(ge=1)]
    guidance: Annotated[float, Field(ge=0)]
    distilled: bool = False
    sampler: str
    size: Pixels
    #: None: the family's.
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    min_class: Annotated[int, Field(ge=0)] = 0
    #: None: the family's.
    speeds: tuple[SpeedEntry, ...] | None = None
    gguf: dict[Literal["gguf-q8", "gguf-q5", "gguf-q4"], GgufFileEntry] = {}


class PersonEntry(Entry):
    """Whom a LoRA shows."""

    #: Stands for the person in messages; a number, not a name.
    subject: Annotated[str, AfterValidator(lambda given: proper_name(given, "a subject"))]
    real: bool = True
    #: Where the consent is kept, such as the SHA-256 of the document.
    consent: str | None = None
    #: What the person has agreed to.
    scope: tuple[ConsentScope, ...] = ("noncommercial",)
    #: The last day of the consent; None: it has none.
    expires: date | None = None
    #: The day on which the person took it back.
    revoked: date | None = None


class LoraEntry(Entry):
    base: str
    identity: Identity | None = None
    path: str
    license: str
    triggers: tuple[str, ...] = ()
    #: None: it shows no particular person.
    person: PersonEntry | None = None


class TextualInversionEntry(Entry):
    family: str
    identity: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    path: str
    license: str
    vectors: Annotated[int, Field(ge=1, le=MAX_VECTORS)]


class UpscalerEntry(Entry):
    architecture: str
    scale: Annotated[int, Field(ge=2, le=MAX_SCALE)]
    tflop_per_mp: Positive
    identity: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    path: str
    license: str


#: Of red, green and blue.
Colour = tuple[float, float, float]
#: Printable ASCII.
Label = Annotated[str, Field(pattern="^[ -~]{1,63}$")]


class ClassifierEntry(Entry):
    """`common.catalog.types.ClassifierForm`, and its file."""

    architecture: Literal["vit", "clip", "siglip"]
    labels: Annotated[tuple[Label, ...], Field(min_length=1)]
    exclusive: bool = True
    heads: Annotated[int, Field(ge=1)]
    activation: Literal["gelu", "gelu_pytorch_tanh", "quick_gelu"]
    epsilon: Positive
    mean: Colour
    std: Annotated[Colour, AfterValidator(_all_positive)]
    identity: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    path: str
    license: str


#: What models are used with, or their images.
AdditionEntry = LoraEntry | TextualInversionEntry | UpscalerEntry | ClassifierEntry


class CatalogEntries(BaseModel):
    """All entries read so far, by name."""

    licenses: dict[str, LicenseEntry] = {}
    families: dict[str, FamilyEntry] = {}
    models: dict[str, ModelEntry] = {}
    loras: dict[str, LoraEntry] = {}
    textual_inversions: dict[str, TextualInversionEntry] = {}
    upscalers: dict[str, UpscalerEntry] = {}
    classifiers: dict[str, ClassifierEntry] = {}

    def section(self, name: str) -> dict[str, Any]:
        return cast("dict[str, Any]", getattr(self, name))

    def recipes(self, model: ModelEntry) -> tuple[RecipeEntry, ...]:
        """The model's own recipes, or those of its family."""
        return self.families[model.family].recipes if model.recipes is None else model.recipes


class ServedCatalog(CatalogEntries):
    """GET /v1/catalog: the farm's catalog, its entries as in a catalog file, with `like` resolved."""

    #: Changes with the content.
    version: str
    #: Identity of a model, LoRA or GGUF file to the bytes that nodes can fetch of it.
    files: dict[str, int] = {}

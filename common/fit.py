"""Which models fit which cards, with which recipe, and their predicted memory.

Rendering has three phases: encoding the prompts, denoising, decoding. In each phase, the card holds the
weights that the recipe's placement keeps there, the workspace, and the activations of the phase. The
predicted peak is the maximum over the phases. docs/explanation/fit.md derives the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, get_args

from common.cards import REFERENCE_CARDS
from common.catalog import BYTES_PER_PARAMETER, EIGHT_BITS, Model, Phase, Recipe, lora_parts, phase_of
from common.catalog.samplers import forwards_of
from common.chips import chip_of
from common.embeddings import encoder_dtypes
from common.nodes import VRAM_CLASSES, Card
from common.shot import Shot
from common.units import MIB, format_gib, format_size

#: Fraction of usable memory that predictions leave free, for fragmentation and prediction errors.
HEADROOM = 0.05

#: Fraction of an earlier recipe's seconds below which a later one takes its place.
_FASTER = 0.95

#: Megapixels of a VAE tile of 512 pixels, including the overlap of decoding.
_TILE_MEGAPIXELS = 0.288

#: An upscaler and the smallest tile that nodes enlarge, whatever the upscaler. Measured in float32 on a CPU:
#: 0.9 GiB for HAT-L, the largest with 41 million parameters, and 0.3 for ESRGAN.
_UPSCALE_BYTES = 1024 * MIB
#: An operation of an upscaler takes as long as two of a denoiser: its layers are narrower. Estimated.
_UPSCALE_SLOWNESS = 2.0

_PHASES: tuple[Phase, ...] = get_args(Phase)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How a card renders a shot."""

    recipe: Recipe
    #: Predicted peak memory on the card for a pass of one image.
    peak_bytes: int
    #: Maximum number of images in a pass, 1-12.
    pass_size: int
    #: Predicted peak memory for a pass of `pass_size` images.
    pass_peak_bytes: int
    #: Whether there is room for the text encoders; without them, embeddings must come from the store.
    encodes: bool = True


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a card cannot render a shot, as a sentence for users."""

    reason: str

    def __str__(self) -> str:
        return self.reason


class Peak(NamedTuple):
    """The measured peak memory of the largest pass of one image size."""

    #: Simultaneous denoiser runs: the number of images, doubled by guidance.
    forwards: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """Measurements by cards of one type for one kind of work, by recipe."""

    #: Maximum number of images in a pass after a larger one ran out of memory; 0 if a single image did.
    ceilings: Mapping[str, int] = field(default_factory=dict)
    peaks: Mapping[str, Peak] = field(default_factory=dict)
    #: Seconds per megapixel-forward in an image of the model's usual settings.
    paces: Mapping[str, float] = field(default_factory=dict)
    #: Text encoder to the dtype in which the store has all embeddings of the work; None: it has not.
    embedded: Mapping[str, str] | None = None


def fit(shot: Shot, model: Model, card: Card, seen: Seen | None = None) -> Fit | Misfit:
    """Returns the fastest recipe of `model` with which `card` can render `shot`, or why there is none.

    The catalog's order is the estimate: a recipe takes the place of an earlier one if both were measured and
    it was faster. Measurements in `seen`, by cards of the same type, also correct the predicted memory. If no
    recipe fits and the embeddings are stored, one does that fits without text encoders.
    """
    seen = seen or Seen()
    if card.vram_class < model.min_class:
        return Misfit(
            f"{model.name} is kept for cards of {model.min_class} GB and more (min_class in the catalog)"
        )
    computed = list(runnable(model, card))
    if found := fitting(shot, model, card, seen) or _from_store(shot, model, card, seen):
        return _fastest(found, seen.paces)
    remedy = _gguf_remedy(shot, model, card)
    untried = [recipe for recipe in computed if seen.ceilings.get(recipe.name) != 0]
    if computed and not untried:
        size = format_size(shot.width, shot.height)
        return Misfit(f"{card.name} ran out of memory with one image of {model.name} at {size}{remedy}")
    reason = _memory_reason(shot, model, untried, card) if computed else _recipe_reason(model, card)
    return Misfit(f"{reason}{remedy}")


def fitting(shot: Shot, model: Model, card: Card, seen: Seen | None = None) -> list[Fit]:
    """Returns how the card renders the shot by each recipe that it can follow, in the catalog's order."""
    recipes = runnable(model, card)
    return [found for recipe in recipes if (found := _fit(shot, model, recipe, card, seen or Seen()))]


def without_encoders(shot: Shot, model: Model, card: Card, seen: Seen) -> list[Fit]:
    """Returns the same for a card that holds no text encoder, whether embeddings are stored or not."""
    if card.vram_class < model.min_class:
        return []
    recipes = runnable(model, card)
    return [found for recipe in recipes if (found := _fit(shot, model, recipe, card, seen, encodes=False))]


def _from_store(shot: Shot, model: Model, card: Card, seen: Seen) -> list[Fit]:
    """The same by recipes that encode as the stored embeddings were."""
    found = without_encoders(shot, model, card, seen) if seen.embedded is not None else ()
    return [one for one in found if seen.embedded == encoding_of(one.recipe)]


def encoding_of(recipe: Recipe) -> dict[str, str]:
    """Returns text encoder to the torch dtype of its weights."""
    return encoder_dtypes(recipe.weights, recipe.compute_dtype)


def plain_shot(model: Model) -> Shot:
    """Returns a shot with the default settings of a model, for planning."""
    width, height = model.size
    return Shot(
        model=model.name,
        model_identity=model.identity or "",
        prompt="",
        negative="",
        seed=0,
        width=width,
        height=height,
        steps=model.steps,
        guidance=model.guidance,
        sampler=model.sampler,
    )


def runnable(model: Model, card: Card) -> Iterator[Recipe]:
    """Yields the recipes that the card can compute, regardless of its memory."""
    return _computable(model.recipes, card)


def _computable(recipes: Iterable[Recipe], card: Card) -> Iterator[Recipe]:
    for recipe in recipes:
        if card.backend in recipe.backends and (card.backend != "cuda" or _has_types(recipe, card)):
            yield recipe


def _has_types(recipe: Recipe, card: Card) -> bool:
    """Whether the card computes in the types of the recipe, and rightly."""
    needed = recipe.min_compute_capability
    is_new = needed is None or (card.compute_capability or (0, 0)) >= needed
    return is_new and not _failing(recipe) & set(chip_of(card).fails)


def _failing(recipe: Recipe) -> set[str]:
    """The types that a recipe computes in: those of the denoiser, and of all parts that have 16 bits."""
    return {recipe.compute_dtype, *recipe.weights.values()}


def fits_class(shot: Shot, model: Model, vram_class: int) -> Fit | Misfit:
    """Returns how the reference card of a class renders the shot, or why it cannot."""
    return fit(shot, model, REFERENCE_CARDS[vram_class])


def smallest_class(shot: Shot, model: Model, classes: Iterable[int] = VRAM_CLASSES) -> int | Misfit:
    """Returns the smallest of `classes` that fits the shot, or the Misfit of the largest."""
    answer: Fit | Misfit = Misfit("there is no VRAM class to choose from")
    for vram_class in sorted(classes):
        answer = fits_class(shot, model, vram_class)
        if isinstance(answer, Fit):
            return vram_class
    assert isinstance(answer, Misfit)
    return answer


def peak_bytes(shot: Shot, model: Model, recipe: Recipe, images: int = 1, *, encodes: bool = True) -> int:
    """Returns the predicted peak, in bytes, of a pass of `images` such shots with `recipe`.

    Unless the card `encodes`, it holds no text encoder that can be left out.
    """
    (rendering,) = _rendering_bytes(shot, model, recipe, (images,), encodes=encodes)
    return max(rendering, _upscaling_bytes(shot, model, recipe, encodes=encodes))


def _rendering_bytes(
    shot: Shot, model: Model, recipe: Recipe, images: Iterable[int], *, encodes: bool
) -> list[int]:
    """Returns the bytes with which a pass is rendered, for each number of `images`."""
    held = {
        phase: _held_bytes(shot, model, recipe, phase, encodes=encodes)
        for phase in _PHASES
        if encodes or phase != "encode"
    }
    return [
        max(own + _activation_bytes(shot, model, recipe, phase, number) for phase, own in held.items())
        for number in images
    ]


def _upscaling_bytes(shot: Shot, model: Model, recipe: Recipe, *, encodes: bool) -> int:
    """Returns the bytes with which an image is enlarged in the smallest tiles, beside all that decodes."""
    if shot.upscaler is None:
        return 0
    return _held_bytes(shot, model, recipe, "decode", encodes=encodes) + _UPSCALE_BYTES


def _held_bytes(shot: Shot, model: Model, recipe: Recipe, phase: Phase, *, encodes: bool) -> int:
    """Returns the bytes that are on the card in a phase, however many images are rendered."""
    weights = _weights_bytes(model, recipe, phase, _parts(model, encodes=encodes))
    return weights + _lora_bytes(shot, model, recipe, phase) + model.activations.workspace


def _parts(model: Model, *, encodes: bool) -> list[str]:
    """The components that are loaded; of the text encoders only those that a LoRA can change are always."""
    changeable = lora_parts(model.components)
    return [part for part in model.components if encodes or phase_of(part) != "encode" or part in changeable]


def ram_bytes(model: Model, recipe: Recipe, *, encodes: bool = True) -> int:
    """Returns the host memory, in bytes, for loading: all weights pass through it on their way to the card.

    A denoiser that is converted to 8 bits is first loaded in 16 bits, before the components that no LoRA can
    change.
    """
    casting = 0
    for part in lora_parts(model.components):
        is_cast = recipe.weights[part] in EIGHT_BITS
        casting += 2 * model.components[part] if is_cast else _component_bytes(model, recipe, part)
    return max(model_bytes(model, recipe, encodes=encodes), casting)


def model_bytes(model: Model, recipe: Recipe, *, encodes: bool = True) -> int:
    """Returns the total size, in bytes, of the weights in the formats of `recipe`."""
    return sum(_component_bytes(model, recipe, part) for part in _parts(model, encodes=encodes))


def forwards_per_step(shot: Shot, model: Model) -> int:
    """Returns the denoiser runs for one step of one image, simultaneous and consecutive ones."""
    return forwards_at_once(shot, model) * forwards_of(shot.sampler)


def denoiser_runs(shot: Shot, model: Model, steps: float) -> float:
    """Returns the denoiser runs that one image with `steps` takes as long as, upscaling included."""
    return steps * forwards_per_step(shot, model) + upscaling_runs(shot, model)


def upscaling_runs(shot: Shot, model: Model) -> float:
    """Returns the denoiser runs that upscaling takes as long as, by its operations."""
    if shot.upscaler is None:
        return 0.0
    billions = sum(number for part, number in model.components.items() if phase_of(part) == "denoise") / 1e9
    return _UPSCALE_SLOWNESS * shot.upscaler.tflop_per_mp / (model.family.tflop_per_mp * billions)


def forwards_at_once(shot: Shot, model: Model) -> int:
    """Returns the simultaneous denoiser runs for one image: guidance adds a run without the prompt."""
    return 2 if model.family.is_doubled_by(shot.guidance) else 1


def peak_limit(card: Card) -> int:
    """Returns the maximum memory, in bytes, that a pass may use on the card."""
    return int(card.usable_bytes * (1 - HEADROOM))


def _fit(
    shot: Shot, model: Model, recipe: Recipe, card: Card, seen: Seen, *, encodes: bool = True
) -> Fit | None:
    if ram_bytes(model, recipe, encodes=encodes) > card.ram_bytes:
        return None
    peaks = _peaks(shot, model, recipe, seen, encodes=encodes)
    images = _pass_size(peaks, peak_limit(card), seen.ceilings.get(recipe.name, recipe.max_pass))
    if not images:
        return None
    return Fit(
        recipe=recipe,
        peak_bytes=peaks[0].bytes,
        pass_size=images,
        pass_peak_bytes=peaks[images - 1].bytes,
        encodes=encodes,
    )


def _fastest(found: Sequence[Fit], paces: Mapping[str, float]) -> Fit:
    best = found[0]
    for each in found[1:]:
        known, own = paces.get(best.recipe.name), paces.get(each.recipe.name)
        if known is not None and own is not None and own < _FASTER * known:
            best = each
    return best


def _gguf_remedy(shot: Shot, model: Model, card: Card) -> str:
    """Continues the reason of a misfit if a file that the catalog lacks would mend it."""
    for recipe in _computable(model.lacking, card):
        if _fit(shot, model, recipe, card, Seen()):
            format_ = recipe.quantisation.removeprefix("gguf-").upper()
            return f"; a {format_} GGUF file mends it: `farm models add FILE.gguf --like {model.name}`"
    return ""


class _PassPeak(NamedTuple):
    """Peak memory of a pass, and whether a pass of at least this size has been rendered before."""

    bytes: int
    proven: bool


def _peaks(shot: Shot, model: Model, recipe: Recipe, seen: Seen, *, encodes: bool) -> list[_PassPeak]:
    """Returns the peaks of passes of 1, 2, … images, scaled to match the largest measured pass."""
    upscaling = _upscaling_bytes(shot, model, recipe, encodes=encodes)
    predicted = _rendering_bytes(shot, model, recipe, range(1, recipe.max_pass + 1), encodes=encodes)
    measured = seen.peaks.get(recipe.name)
    images = measured.forwards // forwards_at_once(shot, model) if measured else 0
    if measured is None or not images:
        return [_PassPeak(max(needs, upscaling), proven=False) for needs in predicted]
    # Torch measures only its own memory; the workspace accounts for that of the driver.
    held = measured.bytes + model.activations.workspace
    scale = held / predicted[min(images, recipe.max_pass) - 1]
    scaled = enumerate((int(needs * scale) for needs in predicted), 1)
    return [_PassPeak(max(needs, upscaling), proven=at <= images) for at, needs in scaled]


def _pass_size(peaks: Sequence[_PassPeak], limit: int, ceiling: int) -> int:
    """Returns the number of images in the largest fitting pass, up to `ceiling`; 0 if none fits."""
    fitting = (at for at, peak in enumerate(peaks[:ceiling], 1) if peak.proven or peak.bytes <= limit)
    return max(fitting, default=0)


def _component_bytes(model: Model, recipe: Recipe, component: str) -> int:
    return int(model.components[component] * BYTES_PER_PARAMETER[recipe.weights[component]])


def _weights_bytes(model: Model, recipe: Recipe, phase: Phase, parts: Iterable[str]) -> int:
    return sum(_component_bytes(model, recipe, part) for part in parts if _on_card(recipe, part, phase))


def _lora_bytes(shot: Shot, model: Model, recipe: Recipe, phase: Phase) -> int:
    """Returns the bytes of LoRAs, which are always kept in the same place as the denoiser."""
    denoisers = (component for component in model.components if phase_of(component) == "denoise")
    held = any(_on_card(recipe, component, phase) for component in denoisers)
    return len(shot.loras) * model.activations.lora * held


def _on_card(recipe: Recipe, component: str, phase: Phase) -> bool:
    encodes = phase_of(component) == "encode"
    if "text_encoder_on_cpu" in recipe.placement:
        return not encodes
    if "text_encoder_first" in recipe.placement:
        return encodes == (phase == "encode")
    return True


def _activation_bytes(shot: Shot, model: Model, recipe: Recipe, phase: Phase, images: int) -> int:
    use = model.activations
    match phase:
        case "encode":
            on_card = "text_encoder_on_cpu" not in recipe.placement
            return use.encode * _width(recipe.compute_dtype) * on_card
        case "denoise":
            forwards = images * forwards_at_once(shot, model)
            return int(use.denoise_per_mp * _width(recipe.compute_dtype) * shot.megapixels * forwards)
        case "decode":
            at_once = shot.megapixels * (1 if "vae_slicing" in recipe.placement else images)
            if "vae_tiling" in recipe.placement:
                at_once = min(at_once, _TILE_MEGAPIXELS)
            return int(use.decode_per_mp * _width(recipe.weights["vae"]) * at_once)


def _width(dtype: str) -> int:
    """Returns the width of a type in units of 16 bits."""
    return 2 if dtype == "float32" else 1


def _recipe_reason(model: Model, card: Card) -> str:
    here = [recipe for recipe in model.recipes if card.backend in recipe.backends]
    if not here:
        needed = " or ".join(sorted({backend for recipe in model.recipes for backend in recipe.backends}))
        return f"{model.name} has no recipe for {card.backend}; it needs {needed}"
    failing = set().union(*map(_failing, here)) & set(chip_of(card).fails)
    if failing:
        return (
            f"{model.name} has no recipe without {' and '.join(sorted(failing))}, in which pictures of "
            f"{card.name} come out black; add one that computes in float32"
        )
    lowest = min(recipe.min_compute_capability for recipe in here if recipe.min_compute_capability)
    has = ".".join(map(str, card.compute_capability)) if card.compute_capability else "none"
    return f"{model.name} needs compute capability {lowest[0]}.{lowest[1]} or newer; {card.name} has {has}"


def _memory_reason(shot: Shot, model: Model, recipes: list[Recipe], card: Card) -> str:
    """Explains the recipe that is closest to fitting: required and available memory, and a size that fits."""
    housed = [recipe for recipe in recipes if ram_bytes(model, recipe) <= card.ram_bytes]
    if not housed:
        needs = min(ram_bytes(model, recipe) for recipe in recipes)
        return (
            f"needs {format_gib(needs)} of host memory to load the weights; "
            f"the machine of {card.name} has {format_gib(card.ram_bytes)}"
        )
    recipe = min(housed, key=lambda recipe: peak_bytes(shot, model, recipe))
    needs = peak_bytes(shot, model, recipe)
    limit = peak_limit(card)
    digits = 1 if format_gib(needs) != format_gib(limit) else 2
    sentence = (
        f"needs {format_gib(needs, digits)} at {format_size(shot.width, shot.height)}; "
        f"{card.name} has {format_gib(limit, digits)} to give"
    )
    smaller = _largest_that_fits(shot, model, recipe, limit)
    if smaller is None:
        return f"{sentence}, and no size fits"
    return (
        f"{sentence}; {format_size(smaller.width, smaller.height)} fits "
        f"({format_gib(peak_bytes(smaller, model, recipe), digits)})"
    )


def _largest_that_fits(shot: Shot, model: Model, recipe: Recipe, limit: int) -> Shot | None:
    """Returns the shot in the largest size of a similar aspect ratio that stays below `limit` bytes."""
    step = model.family.size_multiple
    for width in range(shot.width - shot.width % step, 0, -step):
        height = max(step, round(width * shot.height / shot.width / step) * step)
        smaller = shot._replace(width=width, height=height)
        if peak_bytes(smaller, model, recipe) <= limit:
            return smaller
    return None

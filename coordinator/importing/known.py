"""Maps models, LoRAs and samplers of other programs to those of the catalog."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from common.catalog import Catalog, Lora, TextualInversion
from common.catalog.samplers import sampler_of, samplers_akin

#: Normalised file names (see `_bare`) of models with another name in the catalog.
_FILES = {
    "sdxlbase": "sdxl",
    "sdxlbase10": "sdxl",
    "sdxl10": "sdxl",
    "sdxlbase1009vae": "sdxl",
    "v15": "sd15",
    "sdv15": "sd15",
    "stablediffusionv15": "sd15",
    "sd15": "sd15",
    "zimagebase": "z-image",
    "flux2klein4b": "flux2-klein-4b",
    "flux2klein9b": "flux2-klein-9b",
    "fluxschnell": "flux1-schnell",
    "fluxdev": "flux1-dev",
    "chroma1hd": "chroma1-hd",
    "chroma": "chroma1-hd",
}
#: Parts of file names that describe only the storage format of the weights.
_STORED = re.compile(
    r"fp16|fp32|fp8|bf16|e4m3fn|e5m2|q\d(?:_[0k](?:_[sml])?)?|scaled|pruned|emaonly|ema[-_]?only|mixed|nf4",
    re.IGNORECASE,
)
_ENDING = re.compile(r"\.(?:safetensors|ckpt|gguf|sft|pt|pth|bin)$", re.IGNORECASE)
_HASH = re.compile(r"\s*\[[0-9a-f]{6,64}\]\s*$")

#: Words in model names to families of the catalog.
_FAMILIES = (
    (re.compile(r"z[-_ ]?image", re.IGNORECASE), "z-image"),
    (re.compile(r"klein|flux[-_. ]?2", re.IGNORECASE), "flux2-klein"),
    (re.compile(r"chroma", re.IGNORECASE), "chroma"),
    (re.compile(r"flux", re.IGNORECASE), "flux1"),
    (re.compile(r"qwen[-_ ]?image", re.IGNORECASE), "qwen-image"),
    (re.compile(r"xl|pony|illustrious|noob[-_ ]?ai", re.IGNORECASE), "sdxl"),
    (re.compile(r"sd[-_. ]?1|(?<!\d)1[.-]5(?!\d)|v1-", re.IGNORECASE), "sd15"),
)
#: Words in names of models whose family the farm does not support.
_OTHERS = re.compile(r"sd[-_. ]?3|qwen|hunyuan|wan|pixart|lumina|cascade|kolors|hidream", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """A name in the catalog, and whether it is an exact match or only a substitute."""

    name: str
    is_same: bool


def model(theirs: str, catalog: Catalog) -> Found | None:
    """The model with that name or file, else the first of its family; None if the family is unknown."""
    if theirs in catalog.models:
        return Found(theirs, is_same=True)
    bare = _bare(theirs)
    known = {_bare(each.name): each.name for each in catalog.models.values()}
    known |= {
        _bare(each.path): each.name for each in reversed(list(catalog.models.values())) if "/" in each.path
    }
    name = known.get(bare) or _FILES.get(bare)
    if name in catalog.models:
        return Found(name, is_same=True)
    family = next((family for word, family in _FAMILIES if word.search(theirs)), "")
    of_family = of(family, catalog)
    return Found(of_family, is_same=False) if of_family else None


def is_of_another_family(theirs: str) -> bool:
    return bool(_OTHERS.search(theirs)) and not any(word.search(theirs) for word, _ in _FAMILIES)


def of(family: str, catalog: Catalog) -> str | None:
    """The first model of a family, preferably not the demo model."""
    names = [each.name for each in catalog.models.values() if each.family.name == family]
    return next((name for name in names if not name.startswith("shotfarm-demo")), None)


def lora(theirs: str, catalog: Catalog) -> Lora | None:
    bare = _bare(theirs)
    for each in catalog.loras.values():
        if theirs == each.name or bare in (_bare(each.name), _bare(each.path)):
            return each
    return None


def inversion(theirs: str, catalog: Catalog) -> TextualInversion | None:
    bare = _bare(theirs)
    return next((each for each in catalog.textual_inversions.values() if _bare(each.name) == bare), None)


def sampler(theirs: str, family: Iterable[str]) -> Found | None:
    """The sampler of the family that corresponds to a name of another program; None if there is none."""
    has = set(family)
    same = theirs if theirs in has else sampler_of(theirs)
    if same is not None and same in has:
        return Found(same, is_same=True)
    akin = next((name for name in samplers_akin(theirs) if name in has), None)
    return Found(akin, is_same=False) if akin else None


def _bare(name: str) -> str:
    """Letters and digits of a model name, without folder, extension, hash and storage format."""
    name = _HASH.sub("", name.strip()).replace("\\", "/").rpartition("/")[2]
    name = _STORED.sub("", _ENDING.sub("", name))
    return re.sub(r"[^a-z0-9]", "", name.lower()).removeprefix("stablediffusion") or name.lower()


def names(catalog: Mapping[str, object]) -> str:
    """Names of the catalog as a list for a sentence."""
    return ", ".join(list(catalog)[:8])

"""Embeddings of texts, which nodes share through the store: which texts a batch has, their keys, their files.

A key is a digest of all that decides an embedding. What only its last bits depend on, such as the card and
the version of torch, is not part of it, as with images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

from common.catalog import EIGHT_BITS, phase_of
from common.errors import Invalid
from common.messages import MAX_EMBEDDING
from common.shot import Shot
from common.textual_inversions import mentioned
from common.weights import parse_header

#: Raised when nodes embed texts otherwise than before, with the same versions of libraries.
_EDITION = 1
#: Libraries whose code decides an embedding.
_LIBRARIES = ("diffusers", "transformers")
#: In the work keys of shots whose texts are embedded.
MARK = "-"
#: Beginnings of the names of a LoRA's tensors that are certainly the denoiser's.
_DENOISER = ("transformer.", "unet.", "lora_unet_", "diffusion_model.")


class EmbeddedText(NamedTuple):
    """A text of a batch, and how it is embedded."""

    text: str
    negative: bool = False
    #: As counted by people: 1 is the last layer of the text encoder; 0: as the family has it.
    clip_skip: int = 0
    #: Name and identity of each textual inversion in it.
    inversions: tuple[tuple[str, str], ...] = ()


def prompt_of(shot: Shot) -> EmbeddedText:
    return _embedded(shot, shot.prompt, negative=False)


def negative_of(shot: Shot) -> EmbeddedText:
    return _embedded(shot, shot.negative, negative=True)


def _embedded(shot: Shot, text: str, *, negative: bool) -> EmbeddedText:
    known = {use.name: (use.name, use.identity) for use in shot.inversions}
    named = tuple(known[name] for name in mentioned(text) if name in known)
    return EmbeddedText(text, negative, int(dict(shot.knobs).get("clip_skip", 0)), named)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextEncoding:
    """All that decides the embedding of a text besides the text."""

    #: diffusers pipeline class.
    pipeline: str
    #: Identity of the model, whose files contain tokenizers and text encoders.
    model: str
    #: Component that counts tokens.
    tokenizer: str
    #: Longest text in tokens, to which some families pad.
    max_tokens: int
    #: Torch dtype of the weights by text encoder.
    dtypes: dict[str, str]
    #: Identity and weight there of each LoRA that may change a text encoder, in the order of the batch.
    loras: tuple[tuple[str, float], ...]
    #: Package to version.
    versions: dict[str, str]

    @property
    def key(self) -> str:
        """64 hex digits."""
        return _digest({"edition": _EDITION, **asdict(self)})


def texts_of(shots: Iterable[Shot], guided_above: float | None) -> list[EmbeddedText]:
    """Every distinct text that rendering the shots needs, in order of their first use.

    Negative prompts count if guidance is above `guided_above` (None: never); blind steps need an empty text.
    """
    found: dict[EmbeddedText, None] = {}
    for shot in shots:
        found[prompt_of(shot)] = None
        if guided_above is not None and shot.guidance > guided_above:
            found[negative_of(shot)] = None
        if dict(shot.knobs).get("blind_steps"):
            found[EmbeddedText("")] = None
    return list(found)


def texts_key(shot: Shot, guided_above: float | None) -> str:
    """32 hex digits: equal for shots whose texts have the same embeddings, if nodes encode alike."""
    loras = [[use.identity, *use.weights] for use in shot.loras]
    return _digest([shot.model_identity, shot.realm, loras, texts_of([shot], guided_above)])[:32]


class Embedded(NamedTuple):
    """How nodes encode texts whose embeddings are stored: what decides them besides model, LoRAs and text."""

    #: Text encoder to the torch dtype of its weights.
    dtypes: dict[str, str]
    #: Package to version.
    versions: dict[str, str]

    def mark(self, work_key: str) -> str:
        """The work key of shots that are embedded so; `work_key` is theirs otherwise."""
        return f"{work_key}{MARK}{self.key}"

    @property
    def key(self) -> str:
        """8 hex digits."""
        return _digest(self._asdict())[:8]


def embedding_key(encoding: str, realm: str, text: EmbeddedText) -> str:
    """The key, 64 hex digits, of the embedding of `text` by `TextEncoding.key`; realms share none.

    A negative text is embedded as any, except the empty one.
    """
    is_negative = text.negative and not text.text
    return _digest([encoding, realm, text.text, is_negative, text.clip_skip, sorted(text.inversions)])


def encoder_dtypes(weights: Mapping[str, str], compute_dtype: str) -> dict[str, str]:
    """Text encoder to the torch dtype of its weights, by the weights and the compute dtype of a recipe."""
    encoders = sorted(part for part in weights if phase_of(part) == "encode")
    return {part: _torch_dtype(weights[part], compute_dtype) for part in encoders}


def _torch_dtype(weights: str, compute_dtype: str) -> str:
    if weights in EIGHT_BITS:
        return "bfloat16"
    return compute_dtype if weights.startswith("gguf") else weights


def encoding_versions(installed: Mapping[str, str]) -> dict[str, str]:
    return {package: installed.get(package, "") for package in _LIBRARIES}


def may_change_text(tensors: Iterable[str]) -> bool:
    """Whether a LoRA with tensors of these names may change a text encoder of some model."""
    return not all(name.startswith(_DENOISER) for name in tensors)


def tensors_sha256(data: bytes) -> str:
    """The SHA-256 of the tensors in a safetensors file, without its header; 64 hex digits."""
    return hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()


def check_embedding(data: bytes, key: str) -> None:
    """Raises Invalid unless `data` is the whole file of the embedding `key`, with the bytes that were stored.

    A file is safetensors; its metadata is the key and the SHA-256 of its tensors.
    """
    name = f"embedding {key[:12]}"
    if len(data) > MAX_EMBEDDING:
        raise Invalid(f"{name} has {len(data)} bytes; the limit is {MAX_EMBEDDING}")
    header = parse_header(lambda start, length: data[start : start + length], len(data), name)
    if header.metadata.get("key") != key:
        raise Invalid(f"{name} is another one: its metadata has the key {header.metadata.get('key')}")
    if header.metadata.get("sha256") != tensors_sha256(data):
        raise Invalid(f"{name} has other bytes than were stored (SHA-256 mismatch)")


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

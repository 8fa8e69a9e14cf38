"""Judges LoRAs by the headers of their files and of models: those in the store, or on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from common.catalog import Lora, Model, TextualInversion, Upscaler
from common.catalog.identity import listed_files
from common.errors import Invalid, Misconfigured, NotFound, Unavailable
from common.model_files import EMBEDDINGS, UPSCALERS, find_files
from common.storage import MODELS, Store
from common.weights import Header, parse_header, read_header
from common.weights.finite import tensor_without_numbers
from common.weights.lora_fit import lora_misfit
from common.weights.modules import Modules, lora_modules, weight_files

#: Seconds after which files are looked for again that were not there.
_AGAIN_S = 60.0
#: Bytes that are read at once: the header of most files.
_FIRST = 1 << 18
_LONGEST_LISTING = 1 << 22

_T = TypeVar("_T")


class Headers(Protocol):
    """Headers of model files; None where the files are not there."""

    def of_lora(self, lora: Lora) -> Header | None: ...

    def of_model(self, model: Model) -> dict[str, Header] | None:
        """Those of `weight_files` by path."""


class LocalHeaders:
    """Of files in model folders of this machine."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)

    def of_lora(self, lora: Lora) -> Header | None:
        file = find_files(Path("loras") / lora.path, self._folders)
        return read_header(file) if file is not None else None

    def of_inversion(self, inversion: TextualInversion) -> Header | None:
        file = find_files(Path(EMBEDDINGS) / inversion.path, self._folders)
        return read_header(file) if file is not None else None

    def of_upscaler(self, upscaler: Upscaler) -> Header | None:
        file = find_files(Path(UPSCALERS) / upscaler.path, self._folders)
        return read_header(file) if file is not None else None

    def of_model(self, model: Model) -> dict[str, Header] | None:
        folder = find_files(Path(model.path), self._folders)
        if folder is None or not folder.is_dir():
            return None
        paths = (file.relative_to(folder).as_posix() for file in folder.glob("**/*.safetensors"))
        return {path: read_header(folder / path) for path in weight_files(paths, model.components)}


class StoredHeaders:
    """Of files in the store of the farm, which have the identities of the catalog."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of_lora(self, lora: Lora) -> Header | None:
        return self._header(_sha256(lora.identity), lora.name) if _sha256(lora.identity) else None

    def of_inversion(self, inversion: TextualInversion) -> Header | None:
        return self._header(_sha256(inversion.identity), inversion.name)

    def of_upscaler(self, upscaler: Upscaler) -> Header | None:
        return self._header(_sha256(upscaler.identity), upscaler.name)

    def of_model(self, model: Model) -> dict[str, Header] | None:
        if not (sha256 := _sha256(model.identity)):
            return None
        try:
            files = listed_files(self._store.read(MODELS + sha256, limit=_LONGEST_LISTING).decode())
        except NotFound:
            return None
        found = {}
        for path in weight_files(files, model.components):
            header = self._header(files[path], path)
            if header is None:
                return None
            found[path] = header
        return found

    def _header(self, sha256: str, name: str) -> Header | None:
        key = MODELS + sha256
        stored = self._store.head(key)
        if stored is None:
            return None
        first = self._store.read_range(key, 0, _FIRST)

        def read(start: int, length: int) -> bytes:
            if start + length <= len(first):
                return first[start : start + length]
            return self._store.read_range(key, start, length)

        return parse_header(read, stored.size, name)


class LoraFiles:
    """Answers as long as the files are known, and remembers."""

    def __init__(self, sources: Iterable[Headers], now: Callable[[], float] = time.monotonic) -> None:
        self._sources = tuple(sources)
        self._now = now
        self._modules: dict[str, Modules] = {}
        #: Answers by LoRA and model, and until when they count.
        self._answers: dict[tuple[str, str, str], tuple[str | None, float]] = {}

    def misfit(self, lora: Lora, model: Model) -> str | None:
        """Why the LoRA's file has no effect on the model's files, or not all, and what mends it.

        None where nothing is known to be wrong. Without the model's files the LoRA is judged by its own; a
        LoRA without a file is not judged.
        """
        pair = lora.identity or lora.path, model.identity or model.path, model.family.pipeline
        answer, until = self._answers.get(pair, (None, 0.0))
        if until <= self._now():
            answer, is_final = self._judged(lora, model)
            self._answers[pair] = answer, float("inf") if is_final else self._now() + _AGAIN_S
        return answer

    def _judged(self, lora: Lora, model: Model) -> tuple[str | None, bool]:
        """The answer, and whether it stays as it is."""
        try:
            header = self._first(lambda source: source.of_lora(lora))
        except Invalid as error:
            return f"its file cannot be read: {error}", False
        if header is None:
            return None, False
        modules = self.modules(model)
        return lora_misfit(header, model.family.pipeline, modules), modules is not None

    def modules(self, model: Model) -> Modules | None:
        """What a LoRA can change in the model; None if its files are not known."""
        key = model.identity or model.path
        if key not in self._modules:
            try:
                found = self._first(lambda source: source.of_model(model))
            except (Invalid, ValueError):
                return None
            modules = lora_modules(found, model.family.pipeline, model.components) if found else None
            if modules is None:
                return None
            self._modules[key] = modules
        return self._modules[key]

    def _first(self, ask: Callable[[Headers], _T | None]) -> _T | None:
        """The answer of the first source that has one. Raises Invalid for a damaged file."""
        for source in self._sources:
            # A store that does not answer is no reason to refuse a manifest.
            with suppress(NotFound, Unavailable, Misconfigured, OSError):
                if found := ask(source):
                    return found
        return None


def check_numbers(section: str, name: str, file: Path) -> None:
    """Raises Invalid if a file of its own has weights that are infinite or no numbers."""
    if tensor := tensor_without_numbers(file):
        nouns = {"loras": "LoRA", "upscalers": "upscaler", "classifiers": "classifier"}
        noun = nouns.get(section, "textual inversion")
        raise Invalid(
            f"{noun} `{name}` has weights that are no numbers (in `{tensor[:80]}`), so every picture with it "
            "would fail; use another copy or an earlier epoch of it"
        )


def _sha256(identity: str | None) -> str:
    """Empty for what is not known by a hash."""
    return identity.removeprefix("sha256:") if identity and identity.startswith("sha256:") else ""

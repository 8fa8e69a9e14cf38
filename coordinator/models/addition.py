"""What an operator asks to be added, what that would be, and what it became."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from common.weights import Described, Recognition, component_prefixes, described, recognise
from coordinator.models.choice import Chosen
from coordinator.models.source import Source

#: Sections of a catalog whose entries have files.
Section = Literal["models", "loras", "textual_inversions", "upscalers", "classifiers"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AddRequest:
    """What the operator asks for."""

    sources: tuple[str, ...]
    name: str | None = None
    #: Model of the catalog whose entry is the pattern; for a LoRA, the model it was made for.
    like: str | None = None
    license: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What would be added: nothing is fetched yet but headers and configurations."""

    section: Section
    name: str
    #: In words, such as `SDXL checkpoint`.
    what: str
    #: Below the folder of models: that of the model, `loras`, `embeddings`, `upscale_models`, `classifiers`
    #: or `gguf`.
    folder: str
    chosen: tuple[Chosen, ...]
    #: As in the YAML schema, without the identity.
    entry: dict[str, Any]
    origin: str
    remarks: tuple[str, ...] = ()
    #: `gguf-q4` if the one file is the transformer of a model.
    gguf: str = ""

    @property
    def size(self) -> int:
        return sum(each.size for each in self.chosen)


@dataclass(frozen=True, kw_only=True, slots=True)
class AddedFile:
    #: Below the model's folder.
    path: str
    sha256: str
    size: int
    place: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Added:
    """A catalog entry with its files, all on this machine."""

    section: Section
    name: str
    #: As in the YAML schema, with the identity.
    entry: dict[str, Any]
    files: tuple[AddedFile, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One weight file of the sources."""

    source: Source
    found: Recognition
    described: Described = field(default_factory=Described)
    #: Of the names of its tensors, if it is one component of a checkpoint, with their size in bytes.
    prefix: str = ""
    size: int = 0

    @classmethod
    def of(cls, source: Source) -> Part:
        header = source.header(source.files[0])
        found = recognise(header, source.files[0].path)
        return cls(source=source, found=found, described=described(header.metadata))

    @property
    def name(self) -> str:
        path = self.source.files[0].path
        return f"{path} ({self.prefix}*)" if self.prefix else path

    def taken_apart(self) -> list[Part]:
        """The components of a checkpoint. Raises Invalid if one of them is unknown."""
        header = self.source.header(self.source.files[0])
        parts = []
        for prefix in component_prefixes(header.tensors):
            inner = header.below(prefix)
            found = recognise(inner, f"{self.name} ({prefix}*)")
            size = sum(tensor.size for tensor in inner.tensors.values())
            parts.append(replace(self, found=found, prefix=prefix, size=size))
        return parts

    def chosen(self, path: str) -> Chosen:
        file = self.source.files[0]
        return Chosen(path=path, size=self.size if self.prefix else file.size, file=file, prefix=self.prefix)

    @property
    def kind(self) -> str:
        """In words, such as `text encoder`."""
        kinds = {"vae": "VAE", "lora": "LoRA"}
        return kinds.get(self.found.kind, self.found.kind.replace("_", " "))

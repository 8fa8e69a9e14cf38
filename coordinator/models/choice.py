"""Which files of a diffusers repository a pipeline reads: each weight once, in 16 bits if it can be."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from common.catalog.check import PICKLES
from common.errors import Invalid
from coordinator.models.source import Source, SourceFile

INDEX = "model_index.json"
#: Parts of a pipeline that it also works without.
_OPTIONAL = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
_TEXTS = frozenset({".json", ".txt", ".model", ".jinja"})
#: `diffusion_pytorch_model.fp16-00001-of-00002.safetensors`, and the same with the variant at its end.
_WEIGHTS = re.compile(
    r"(?P<stem>diffusion_pytorch_model|model|pytorch_model)(?:\.(?P<variant>[a-z]\w*))?"
    r"(?P<shard>-\d{5}-of-\d{5})?(?:\.(?P<late>[a-z]\w*))?\.safetensors"
)
_SHARDS = re.compile(r"\.safetensors\.index(?:\.\w+)?\.json$")
#: Variants that hold the same weights as the default; of equally small ones the first is taken.
_VARIANTS = ("bf16", "", "fp16")


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """A file that belongs to the model."""

    #: Below the model's folder.
    path: str
    size: int
    #: None if `text` is the content.
    file: SourceFile | None = None
    text: str = ""
    #: Of the names of the tensors that become the file; empty: it is the whole of `file`.
    prefix: str = ""


def pipeline_files(
    source: Source, components: Collection[str], *, weights: Collection[str] | None = None
) -> tuple[Chosen, ...]:
    """The files of the pipeline that `source` holds.

    `components` are the parts with weights that are read, `weights` those of them whose weights are chosen
    (None: all); the others are there with their configurations. Raises Invalid if a part is missing or only
    there as a pickle.
    """
    weights = components if weights is None else weights
    index = source.json(INDEX)
    chosen = [Chosen(path=INDEX, size=_file(source, INDEX).size, file=_file(source, INDEX))]
    for name in pipeline_components(index):
        inside = [file for file in source.files if file.path.startswith(f"{name}/")]
        has_weights = any(_is_weights(file) for file in inside)
        if has_weights and name not in components:
            continue
        chosen += _texts(inside)
        if has_weights and name in weights:
            chosen += _best_weights(source, name, inside)
        if (name in weights and not has_weights) or (not inside and name not in _OPTIONAL):
            raise Invalid(f"{source.origin} lacks the weights of `{name}`; fetch the model again")
    return tuple(chosen)


def pipeline_components(index: Any) -> Iterator[str]:
    """Names of the parts that a `model_index.json` lists."""
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise Invalid(f"{INDEX} names no pipeline; fetch the model again")
    for name, value in index.items():
        is_part = isinstance(value, list) and len(value) == 2 and isinstance(value[1], str)
        if is_part and re.fullmatch(r"[a-z]\w*", name):
            yield name


def _file(source: Source, path: str) -> SourceFile:
    found = source.file(path)
    if found is None:
        raise Invalid(f"{source.origin} has no {path}")
    return found


def _is_weights(file: SourceFile) -> bool:
    return PurePosixPath(file.path).suffix in PICKLES | {".safetensors"}


def _texts(inside: Iterable[SourceFile]) -> list[Chosen]:
    return [
        Chosen(path=file.path, size=file.size, file=file)
        for file in inside
        if PurePosixPath(file.path).suffix in _TEXTS
        and not re.search(r"\.index(?:\.\w+)?\.json$", file.path)
        and file.path.count("/") == 1
    ]


def _best_weights(source: Source, part: str, inside: list[SourceFile]) -> Iterator[Chosen]:
    variants: dict[str, list[tuple[SourceFile, re.Match[str]]]] = {}
    for file in inside:
        match = _WEIGHTS.fullmatch(file.path.removeprefix(f"{part}/"))
        if match:
            variants.setdefault(match["variant"] or match["late"] or "", []).append((file, match))
    known = [name for name in _VARIANTS if name in variants]
    if not known:
        pickled = next((file.path for file in inside if PurePosixPath(file.path).suffix in PICKLES), None)
        others = ", ".join(file.path for file in inside if _is_weights(file))
        why = f"only as the pickle {pickled}, which can run code" if pickled else f"only as {others}"
        raise Invalid(f"{source.origin} has `{part}` {why}; look for a repository with .safetensors files")
    best = min(known, key=lambda name: sum(file.size for file, _ in variants[name]))
    shards = variants[best]
    sharded = [(file, match) for file, match in shards if match["shard"]]
    whole = [(file, match) for file, match in shards if not match["shard"]]
    if whole:
        file, match = whole[0]
        yield Chosen(path=f"{part}/{match['stem']}.safetensors", size=file.size, file=file)
        return
    names = {}
    for file, match in sharded:
        names[file.path.removeprefix(f"{part}/")] = f"{match['stem']}{match['shard']}.safetensors"
        yield Chosen(path=f"{part}/{match['stem']}{match['shard']}.safetensors", size=file.size, file=file)
    yield _shard_index(source, part, inside, sharded[0][1]["stem"], names)


def _shard_index(
    source: Source, part: str, inside: list[SourceFile], stem: str, names: dict[str, str]
) -> Chosen:
    """The index of the shards under the names that they get here."""
    for file in inside:
        if not _SHARDS.search(file.path):
            continue
        said = source.json(file.path)
        places = said.get("weight_map") if isinstance(said, dict) else None
        if isinstance(places, dict) and set(places.values()) == names.keys():
            renamed = {key: names[shard] for key, shard in places.items()}
            text = json.dumps(said | {"weight_map": renamed}, indent=2, sort_keys=True) + "\n"
            path = f"{part}/{stem}.safetensors.index.json"
            return Chosen(path=path, size=len(text.encode()), text=text)
    raise Invalid(f"{source.origin} lacks a part of the weights of `{part}`; fetch the model again")

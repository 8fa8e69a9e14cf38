"""The model and LoRA files of this node, found by the catalog's names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path

from common.catalog import Catalog, Model, Recipe, file_identity
from common.fit import runnable
from common.model_files import EMBEDDINGS, SHIPPED, UPSCALERS, find_files, places_below
from common.nodes import Card
from common.shot import InversionUse, UpscalerUse
from gpu_node.cache import ModelCache
from gpu_node.errors import RenderError
from gpu_node.identity import Hashes, verify_file, verify_model
from gpu_node.known_files import known_file
from gpu_node.protocol import EngineGguf

#: A file that shots name with its identity.
FileUse = InversionUse | UpscalerUse
#: Its name in the cache.
_CACHED_NAMES = {InversionUse: "embedding.safetensors", UpscalerUse: "upscaler.safetensors"}
#: Path, bytes and time of modification of files.
Stamp = frozenset[tuple[str, int, int]]
#: (name, path, identity, hashes) to whether the files were compared; raises RenderError where they differ.
Verify = Callable[[str, Path, str | None, Hashes], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """One model or LoRA of the catalog on this node."""

    name: str
    path: Path
    #: Whether the files were compared with the catalog's identity, and are the same.
    verified: bool
    #: Why it cannot be used; empty where it can.
    problem: str = ""
    #: Recipe of a model to the sentence why it cannot be followed.
    missing_recipes: dict[str, str] = field(default_factory=dict)
    #: Whether the files are still to be fetched from the farm.
    fetches: bool = False


@dataclass(frozen=True, slots=True)
class Need:
    """Files that are not here, but that the farm has."""

    #: For messages.
    name: str
    identity: str
    #: Name of the one file; empty for a model, whose identity is that of a listing.
    file: str = ""
    #: Bytes.
    size: int = 0


class Library:
    """Looks for the paths of models, and below folders such as `loras` and `gguf` for those of files, in each
    of `folders`, then among the shipped ones, then by identity in `cache`, for which the farm has `files`
    (identity to bytes). Paths that lead out of the folders are followed only in an `own_catalog`: another
    farm would learn from them which files this machine has.
    """

    def __init__(
        self,
        catalog: Catalog,
        folders: Sequence[Path],
        hashes: Hashes,
        cache: ModelCache | None = None,
        files: Mapping[str, int] | None = None,
        *,
        own_catalog: bool = False,
    ) -> None:
        self._folders = tuple(folders)
        self._own_catalog = own_catalog
        self._hashes = hashes
        self.cache = cache
        #: Files in `folders` that are not the catalog's.
        self._wrong: set[Path] = set()
        self.read(catalog, files or {})

    def read(self, catalog: Catalog, files: Mapping[str, int]) -> None:
        """Go by another catalog of the farm from now on."""
        self.catalog, self.files = catalog, files

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the owner of the node keeps models."""
        return self._folders

    def known_file(self, sha256: str, size: int) -> Path | None:
        """A file of this content in `folders`, under any name."""
        return known_file(sha256, size, self._folders, self._hashes)

    def model_folder(self, name: str) -> Path | None:
        model = self.catalog.models.get(name)
        return (self._find(Path(model.path)) or self._cached(model.identity)) if model else None

    def lora_file(self, name: str) -> Path | None:
        lora = self.catalog.loras.get(name)
        if lora is None:
            return None
        path = Path("loras") / lora.path
        return self._find(path) or self._cached(lora.identity, path.name)

    def stamp(self, name: str) -> Stamp:
        """Of the owner's files of a model or LoRA: equal as long as nobody changes them."""
        model, lora = self.catalog.models.get(name), self.catalog.loras.get(name)
        paths = (
            [Path(model.path), *(Path("gguf") / file.path for file in model.gguf.values())] if model else []
        )
        paths += [Path("loras") / lora.path] if lora else []
        places = [place for path in paths for place in places_below(path, self._folders)]
        try:
            files = [file for place in places for file in (place, *place.rglob("*")) if file.is_file()]
            stats = [(str(file), file.stat()) for file in files]
        except OSError:  # a file that went meanwhile; the next look finds what is there
            return frozenset()
        return frozenset((file, stat.st_size, stat.st_mtime_ns) for file, stat in stats)

    def used_file(self, use: FileUse) -> Path | None:
        """The file of a textual inversion or upscaler that a shot names, by its identity."""
        path = self._used_path(use)
        file = self._find(path) if path else None
        if file is not None and file_identity(file, self._hashes.of) == use.identity:
            return file
        return self._cached(use.identity, _CACHED_NAMES[type(use)])

    def _used_path(self, use: FileUse) -> Path | None:
        """Below the model folders, if the catalog knows it."""
        if isinstance(use, UpscalerUse):
            upscaler = self.catalog.upscalers.get(use.name)
            return Path(UPSCALERS) / upscaler.path if upscaler else None
        inversion = self.catalog.textual_inversions.get(use.name)
        return Path(EMBEDDINGS) / inversion.path if inversion else None

    def needs(
        self, model: str, recipe: str, loras: Iterable[str], uses: Iterable[FileUse] = ()
    ) -> list[Need]:
        """What must be fetched to render with these; nothing that the farm does not have."""
        known = self.catalog.models.get(model)
        needs: list[Need] = []
        if known is not None:
            if self.model_folder(model) is None:
                needs.append(Need(model, known.identity or ""))
            used = next((one for one in known.recipes if one.name == recipe and one.reads_gguf), None)
            gguf = known.gguf.get(used.quantisation) if used else None
            if gguf is not None and self._gguf(Path(gguf.path), gguf.identity) is None:
                needs.append(Need(f"{model} ({recipe})", gguf.identity, Path(gguf.path).name))
        for name in loras:
            lora = self.catalog.loras.get(name)
            if lora is not None and self.lora_file(name) is None:
                needs.append(Need(name, lora.identity or "", Path(lora.path).name))
        needs += [
            Need(use.name, use.identity, _CACHED_NAMES[type(use)])
            for use in uses
            if self.used_file(use) is None
        ]
        files = self.files
        return [replace(need, size=files[need.identity]) for need in needs if need.identity in files]

    def fetch_bytes(self, name: str, card: Card | None) -> int:
        """What must be fetched to render with a model, by the first recipe that the card can compute."""
        model = self.catalog.models[name]
        recipe = next(iter(model.recipes if card is None else runnable(model, card)), None)
        return sum(need.size for need in self.needs(name, recipe.name, ())) if recipe else 0

    def cached(self, model: str, loras: Iterable[str], uses: Iterable[FileUse] = ()) -> set[str]:
        """The identities of all that the cache has for these."""
        known = self.catalog.models.get(model)
        found = {known.identity, *(file.identity for file in known.gguf.values())} if known else set()
        found |= {lora.identity for name in loras if (lora := self.catalog.loras.get(name))}
        found |= {use.identity for use in uses}
        return {identity for identity in found if identity and self.cache and self.cache.find(identity)}

    def gguf_file(self, model: Model, recipe: Recipe) -> EngineGguf | None:
        """What the recipe reads the transformer from; None where that is the model's folder.

        Raises RenderError `model_missing`.
        """
        if not recipe.reads_gguf:
            return None
        needs = f"{model.name}: recipe {recipe.name} needs"
        named = model.gguf.get(recipe.quantisation)
        if named is None:
            raise RenderError(
                "model_missing",
                f"{needs} a {recipe.quantisation} file, but the catalog lists none; "
                f"add one with `farm models add FILE.gguf --like {model.name}`",
            )
        file = self._gguf(Path(named.path), named.identity)
        if file is None:
            raise RenderError(
                "model_missing",
                f"{needs} gguf/{named.path}, which is missing in the model folders of this node",
            )
        return EngineGguf(file=file, identity=named.identity)

    def models(self, card: Card | None) -> list[Holding]:
        """Every catalog model whose folder is here, compared with the catalog (seconds a GB, once), or that
        the farm has.

        One of which `card` (any card where it is None) can compute only recipes whose files are not here has
        a problem.
        """
        found = [holding for name in self.catalog.models if (holding := self.model(name, card))]
        self._hashes.save()
        return found

    def model(self, name: str, card: Card | None) -> Holding | None:
        """The same of one model of the catalog; None if it is neither here nor in the farm."""
        model = self.catalog.models[name]
        holding = self._holding(name, Path(model.path), model.identity, verify_model)
        if holding is None or holding.problem:
            return holding
        return self._with_recipes(holding, model, card)

    def loras(self) -> list[Holding]:
        """The same of LoRAs."""
        found = []
        for name, lora in self.catalog.loras.items():
            path = Path("loras") / lora.path
            if holding := self._holding(name, path, lora.identity, verify_file, path.name):
                found.append(holding)
        self._hashes.save()
        return found

    def _with_recipes(self, holding: Holding, model: Model, card: Card | None) -> Holding:
        missing = {recipe.name: why for recipe in model.recipes if (why := self._lack(model, recipe))}
        recipes = model.recipes if card is None else runnable(model, card)
        wanted = [recipe.name for recipe in recipes]
        nothing_left = wanted and missing.keys() >= set(wanted)
        problem = missing[wanted[0]] if nothing_left else ""
        return replace(holding, problem=problem, missing_recipes=missing)

    def _lack(self, model: Model, recipe: Recipe) -> str:
        """Why the recipe's own file cannot be used; empty where it can or there is none."""
        named = model.gguf.get(recipe.quantisation) if recipe.reads_gguf else None
        if named is not None and self._may_fetch(named.identity):
            return ""
        try:
            if gguf := self.gguf_file(model, recipe):
                verify_file(model.name, gguf.file, gguf.identity, self._hashes)
        except (RenderError, OSError) as error:
            return str(error)
        return ""

    def _holding(
        self, name: str, path: Path, identity: str | None, verify: Verify, file: str = ""
    ) -> Holding | None:
        """What is at `path` in a folder; else in the cache, with the name `file`, or to be fetched there."""
        self._wrong -= set(places_below(path, self._folders))
        here = self._find(path)
        problem = ""
        if here is not None:
            try:
                verified = verify(name, here, identity, self._hashes)
                return Holding(name=name, path=here, verified=verified)
            except (RenderError, OSError) as error:
                problem = str(error)
        if cached := self._cached(identity, file):
            found = Holding(name=name, path=cached, verified=True)
        elif identity and self._may_fetch(identity):
            found = Holding(name=name, path=Path(file), verified=True, fetches=True)
        else:
            return Holding(name=name, path=here, verified=False, problem=problem) if here else None
        if here is not None:
            self._wrong.add(here)
        return found

    def _gguf(self, path: Path, identity: str) -> Path | None:
        return self._find(Path("gguf") / path) or self._cached(identity, path.name)

    def _find(self, path: Path) -> Path | None:
        if self._own_catalog:
            found = find_files(path, self._folders)
        else:
            places = places_below(path, (*self._folders, SHIPPED))
            found = next((place for place in places if place.exists()), None)
        return None if found in self._wrong else found

    def _cached(self, identity: str | None, file: str = "") -> Path | None:
        folder = self.cache.find(identity) if self.cache else None
        return folder / file if folder else None

    def _may_fetch(self, identity: str) -> bool:
        return self.cache is not None and self.files.get(identity, inf) <= self.cache.limit

"""The model and LoRA files of this node, found by the catalog's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.catalog import Catalog, Model, Recipe
from common.fit import runnable
from common.model_files import find_files
from common.nodes import Card
from gpu_node.errors import RenderError
from gpu_node.identity import Hashes, verify_file, verify_model
from gpu_node.protocol import EngineGguf

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


class Library:
    """Looks for `MODEL_PATH`, `gguf/GGUF_PATH` and `loras/LORA_PATH` in each of `folders`, then among the
    shipped ones.
    """

    def __init__(self, catalog: Catalog, folders: Sequence[Path], hashes: Hashes) -> None:
        self.catalog = catalog
        self._folders = tuple(folders)
        self._hashes = hashes

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the owner of the node keeps models."""
        return self._folders

    def model_folder(self, name: str) -> Path | None:
        model = self.catalog.models.get(name)
        return self._find(Path(model.path)) if model else None

    def lora_file(self, name: str) -> Path | None:
        lora = self.catalog.loras.get(name)
        return self._find(Path("loras") / lora.path) if lora else None

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
                "model_missing", f"{needs} a {recipe.quantisation} file, but the catalog lists none"
            )
        path = Path("gguf") / named.path
        file = self._find(path)
        if file is None:
            raise RenderError(
                "model_missing", f"{needs} {path}, which is missing in the model folders of this node"
            )
        return EngineGguf(file=file, identity=named.identity)

    def models(self, card: Card | None) -> list[Holding]:
        """Every catalog model whose folder is here, compared with the catalog (seconds a GB, once).

        One of which `card` (any card where it is None) can compute only recipes whose files are not here has
        a problem.
        """
        found = []
        for name, model in self.catalog.models.items():
            if folder := self.model_folder(name):
                holding = self._holding(name, folder, model.identity, verify_model)
                found.append(holding if holding.problem else self._with_recipes(holding, model, card))
        self._hashes.save()
        return found

    def loras(self) -> list[Holding]:
        """The same of LoRAs."""
        found = []
        for name, lora in self.catalog.loras.items():
            if file := self.lora_file(name):
                found.append(self._holding(name, file, lora.identity, verify_file))
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
        try:
            if gguf := self.gguf_file(model, recipe):
                verify_file(model.name, gguf.file, gguf.identity, self._hashes)
        except RenderError as error:
            return str(error)
        return ""

    def _holding(self, name: str, path: Path, identity: str | None, verify: Verify) -> Holding:
        try:
            verified = verify(name, path, identity, self._hashes)
        except RenderError as error:
            return Holding(name=name, path=path, verified=False, problem=str(error))
        return Holding(name=name, path=path, verified=verified)

    def _find(self, path: Path) -> Path | None:
        return find_files(path, self._folders)

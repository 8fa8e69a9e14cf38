"""What the sources of a model are, which of their files are fetched, and what the catalog entry says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from common.catalog import Catalog, Lora, Model, phase_of
from common.catalog.check import PICKLES
from common.catalog.types import MAX_SCALE
from common.errors import Invalid
from common.model_files import CHECKPOINT, CLASSIFIERS, EMBEDDINGS, ORIGINAL, UPSCALERS, find_files
from common.textual_inversions import MARK, MAX_VECTORS
from common.units import counted
from common.weights import Described
from common.weights.classifier import classifier_form
from common.weights.lora_fit import lora_misfit
from common.weights.recognition import FAMILIES, recognise
from common.weights.upscaler import ARCHITECTURES
from common.wording import listed, suggestion
from coordinator.models.addition import AddRequest, Part, Prepared, Section
from coordinator.models.choice import INDEX, Chosen, pipeline_files
from coordinator.models.entry import known_license, model_entry, new_name, slug
from coordinator.models.lora_files import LocalHeaders, LoraFiles
from coordinator.models.source import Source, SourceFile, open_source
from coordinator.models.web import Web

#: Weight files of a folder or repository without an index that are looked at, at most.
_MOST_PARTS = 4
#: Beside the weights of a classifier.
_CONFIG, _PREPROCESSING = "config.json", "preprocessor_config.json"
#: Kinds of files that are one part of a model.
_COMPONENTS = ("denoiser", "text_encoder", "vae")
#: Ends of keys of a text encoder's table of tokens.
_TOKENS = ("embed_tokens.weight", "shared.weight", "token_embedding.weight")
#: Families whose checkpoints diffusers takes apart itself.
_CHECKPOINTS = ("sd15", "sdxl")
#: Families whose VAE diffusers reads only under its own names.
_UNREADABLE_VAES = (("flux2-klein",), ("qwen-image",))
#: Relative difference of parameters up to which two VAEs are of one form.
_SAME_SIZE = 0.01
#: Endings of weight files.
_WEIGHTS = PICKLES | {".safetensors"}
#: Most frequent dtype of a GGUF file to the format in the catalog.
_GGUF_FORMATS = {
    **dict.fromkeys(("Q4_0", "Q4_1", "Q4_K"), "gguf-q4"),
    **dict.fromkeys(("Q5_0", "Q5_1", "Q5_K"), "gguf-q5"),
    "Q8_0": "gguf-q8",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Adder:
    """Adds models to the folder `models`, for a farm with `catalog`."""

    catalog: Catalog
    #: The catalog that is part of the program; its paths name repositories.
    built_in: Catalog
    #: Entries that are replaced when they are added again: section to name to entry.
    own: Mapping[str, Mapping[str, Any]]
    models: Path
    #: More folders with models, to take configurations from.
    folders: tuple[Path, ...]
    web: Web

    def prepare(self, request: AddRequest) -> Prepared:
        """Raises a FarmError, with the remedy, if the sources cannot be added."""
        if request.license is not None and request.license not in self.catalog.licenses:
            raise Invalid(
                f"no license `{request.license}`{suggestion(request.license, self.catalog.licenses)}"
            )
        if request.like is not None and request.like not in self.catalog.models:
            raise Invalid(f"no model `{request.like}`{suggestion(request.like, self.catalog.models)}")
        request, sources = self._open(request)
        folder = None
        if len(sources) == 1 and not sources[0].is_file:
            folder = sources[0]
            if folder.file(INDEX):
                return self._pipeline(request, folder)
            sources = _weight_files(folder)
        found = [Part.of(source) for source in sources]
        if len(found) == 1 and found[0].found.kind == "classifier":
            return self._classifier(request, found[0], folder)
        if len(found) > 1:
            return self._separate(request, found)
        return self._one_file(request, found[0])

    def _open(self, request: AddRequest) -> tuple[AddRequest, list[Source]]:
        """The sources; a name of the built-in catalog, or its repository, is the model of that name."""
        first = request.sources[0]
        known = self.built_in.models.get(first)
        if len(request.sources) == 1 and known is not None and not Path(first).exists():
            if "/" not in known.path:
                raise Invalid(f"`{first}` comes with the farm; there is nothing to add")
            request = replace(
                request, sources=(f"hf:{known.path}",), name=request.name or first, like=request.like or first
            )
        sources = [open_source(said, self.web) for said in request.sources]
        repo = re.match(r"hf:([^@]+)@", sources[0].origin)
        if repo and not sources[0].is_file and len(sources) == 1:
            same = [each.name for each in self.built_in.models.values() if each.path == repo[1]]
            if same:
                request = replace(request, name=request.name or same[0], like=request.like or same[0])
        return request, sources

    def _pipeline(self, request: AddRequest, source: Source) -> Prepared:
        index = source.json(INDEX)
        pipeline = index.get("_class_name") if isinstance(index, dict) else None
        families = {model.family.pipeline: model.family.name for model in self.built_in.models.values()}
        if pipeline not in families:
            raise Invalid(f"{source.origin} is a {pipeline}; this farm renders {listed(sorted(families))}")
        family = families[pipeline]
        reads = next(m.components for m in self.built_in.models.values() if m.family.name == family)
        chosen = pipeline_files(source, reads)
        components = {name: _parameters(source, chosen, name) for name in reads}
        like, remarks = self._like(request, family, components)
        name = self._name(request, source.name, "models")
        license_: str = like.license.name
        more: tuple[str, ...] = ()
        if request.license or name != like.name:
            license_, more = self._license(request, source.license)
        gguf = self.own.get("models", {}).get(name, {}).get("gguf", {}) if name == like.name else {}
        return Prepared(
            section="models",
            name=name,
            what=f"{FAMILIES[family]} in the layout of diffusers",
            folder=name,
            chosen=chosen,
            entry=model_entry(name, self._pattern(like, name), license_, components, gguf),
            origin=source.origin,
            remarks=(*remarks, *more),
        )

    def _one_file(self, request: AddRequest, part: Part) -> Prepared:
        found = part.found
        match found.kind:
            case "lora":
                return self._lora(request, part)
            case "textual_inversion":
                return self._inversion(request, part)
            case "upscaler":
                return self._upscaler(request, part)
            case "checkpoint":
                return self._checkpoint(request, part)
            case "denoiser" if part.source.files[0].path.endswith(".gguf"):
                return self._gguf(request, part)
            case "denoiser":
                return self._separate(request, [part])
            case "vae" if request.like is not None:
                return self._with_vae(request, part, self.catalog.models[request.like])
            case "text_encoder" | "vae":
                raise Invalid(
                    f"{part.name} is only a {part.kind}; add it together with a denoiser: "
                    "`farm models add DENOISER TEXT_ENCODER VAE`"
                    + ("; or add `--like MODEL` for that model with this VAE" if found.kind == "vae" else "")
                )
        raise Invalid(f"{part.name} is an {part.kind}, which this farm cannot use yet")

    def _lora(self, request: AddRequest, part: Part) -> Prepared:
        planned = self._planned_lora(request, part)
        if planned is not None:
            request = replace(request, name=planned.name, like=request.like or self._made_for(planned))
        family = self._family(part, request.like)
        like, remarks = self._like(request, family, {"transformer": part.found.lora_denoiser})
        self._check_lora(part, like)
        name = self._name(request, part.described.title or part.source.name, "loras")
        said = part.source.license or part.described.license
        license_, more = self._license(request, said or (planned.license.name if planned else ""))
        file = f"{name}.safetensors"
        entry: dict[str, Any] = {"base": like.base, "path": file, "license": license_}
        triggers, remark = _triggers(part.described, planned)
        if triggers:
            entry["triggers"] = triggers
        more += remark
        layers = f"{part.found.lora_layers} layers, {part.found.lora_format}"
        return Prepared(
            section="loras",
            name=name,
            what=f"LoRA for {FAMILIES[family]} ({layers})",
            folder="loras",
            chosen=(part.chosen(file),),
            entry=entry,
            origin=part.source.origin,
            remarks=(*remarks, *more),
        )

    def _with_vae(self, request: AddRequest, part: Part, like: Model) -> Prepared:
        """The model `like` with another VAE: a model of its own, whose other files are those of `like`."""
        family = like.family.name
        if family not in part.found.families:
            names = " or ".join(FAMILIES[each] for each in part.found.families) or "another family"
            raise Invalid(f"{part.name} is the VAE of {names}, but `{like.name}` is {FAMILIES[family]}")
        if _is_unreadable(part):
            raise Invalid(
                f"{part.name} cannot be read by diffusers; use the VAE of a repository of {FAMILIES[family]}"
            )
        folder = find_files(Path(like.path), (self.models, *self.folders))
        if folder is None:
            raise Invalid(f"the files of `{like.name}` are not on this machine; add that model first")
        source = open_source(str(folder), self.web)
        size, other = part.found.components["vae"], _vae_parameters(source)
        if abs(size - other) > _SAME_SIZE * other:
            raise Invalid(
                f"{part.name} has {size:,} parameters, the VAE of `{like.name}` has {other:,}; look for one "
                f"of {FAMILIES[family]}"
            )
        name = self._name(request, f"{like.name}-{part.source.name}", "models")
        if name == like.name and name not in self.built_in.models:
            raise Invalid(f"`{name}` cannot take its own place; choose another name with `--name`")
        kept = [file for file in source.files if not _is_vae_weight(file)]
        gguf = {each: {"path": one.path, "identity": one.identity} for each, one in like.gguf.items()}
        pattern = self._pattern(like, name)
        alike = (
            ("the header does not tell VAEs of Stable Diffusion 1.5 and SDXL apart: compare a picture",)
            if len(part.found.families) > 1
            else ()
        )
        return Prepared(
            section="models",
            name=name,
            what=f"{like.name} with another VAE",
            folder=name,
            chosen=(
                *(Chosen(path=file.path, size=file.size, file=file) for file in kept),
                part.chosen(_place(part)),
            ),
            entry=model_entry(name, pattern, request.license or like.license.name, pattern.components, gguf),
            origin=part.source.origin,
            remarks=(f"everything but the VAE is that of {like.name} and takes no more space", *alike),
        )

    def _inversion(self, request: AddRequest, part: Part) -> Prepared:
        found = part.found
        if not found.families:
            raise Invalid(
                f"{part.name} is a textual inversion of a width that no family of this farm has; use one for "
                f"{listed(FAMILIES[each] for each in _CHECKPOINTS)}"
            )
        family = self._family(part)
        if request.like is not None and self.catalog.models[request.like].family.name != family:
            raise Invalid(f"{part.name} is for {FAMILIES[family]}, but `{request.like}` is not")
        if found.vectors > MAX_VECTORS:
            raise Invalid(
                f"{part.name} has {found.vectors} vectors; a prompt takes up to {MAX_VECTORS} of one"
            )
        what = f"textual inversion for {FAMILIES[family]} ({counted(found.vectors, 'vector')})"
        entry = {"family": family, "vectors": found.vectors}
        made = self._of_one_file(request, part, "textual_inversions", what, EMBEDDINGS, entry)
        return replace(made, remarks=(f"prompts name it `{MARK}{made.name}`", *made.remarks))

    def _upscaler(self, request: AddRequest, part: Part) -> Prepared:
        form = part.found.upscaler
        if form is None:
            raise Invalid(
                f"{part.name} is an upscaler of an architecture that nodes cannot load; they load "
                f"{listed(ARCHITECTURES)}"
            )
        if not 2 <= form.scale <= MAX_SCALE:
            what = (
                "restores pictures and enlarges none" if form.scale == 1 else f"enlarges {form.scale} times"
            )
            raise Invalid(f"{part.name} {what}; the farm takes upscalers of 2 to {MAX_SCALE} times")
        if request.like is not None:
            raise Invalid(f"{part.name} is an upscaler, which works with every model; leave out `--like`")
        what = f"upscaler, {form.scale} times ({form.architecture})"
        entry = {name: getattr(form, name) for name in ("architecture", "scale", "tflop_per_mp")}
        made = self._of_one_file(request, part, "upscalers", what, UPSCALERS, entry)
        return replace(made, remarks=(f"manifests name it `upscale: {made.name}`", *made.remarks))

    def _classifier(self, request: AddRequest, part: Part, folder: Source | None) -> Prepared:
        """`folder` has its configuration; None: there is none."""
        if folder is None or folder.file(_CONFIG) is None:
            raise Invalid(
                f"{part.name} is an image classifier, whose labels are in its {_CONFIG}: add its folder or "
                "repository, such as hf:OWNER/NAME"
            )
        if request.like is not None:
            raise Invalid(f"{part.name} is an image classifier, which judges all images; leave out `--like`")
        header = part.source.header(part.source.files[0])
        preprocessing = folder.json(_PREPROCESSING) if folder.file(_PREPROCESSING) else {}
        form = classifier_form(header.tensors, folder.json(_CONFIG), preprocessing, part.name)
        what = f"image classifier ({form.architecture}: {', '.join(form.labels)})"
        entry = {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(form).items()
        }
        part = replace(part, source=replace(part.source, license=folder.license, origin=folder.origin))
        made = self._of_one_file(request, part, "classifiers", what, CLASSIFIERS, entry)
        example = (
            f"`classifiers: {{{made.name}: {{{form.labels[-1]}: 0.5}}}}` in a lane of farm.yaml orders it"
        )
        return replace(made, remarks=(example, *made.remarks))

    def _of_one_file(
        self,
        request: AddRequest,
        part: Part,
        section: Section,
        what: str,
        folder: str,
        entry: Mapping[str, Any],
    ) -> Prepared:
        name = self._name(request, part.source.name, section)
        license_, remarks = self._license(request, part.source.license or part.described.license)
        file = f"{name}.safetensors"
        return Prepared(
            section=section,
            name=name,
            what=what,
            folder=folder,
            chosen=(part.chosen(file),),
            entry={**entry, "path": file, "license": license_},
            origin=part.source.origin,
            remarks=remarks,
        )

    def _check_lora(self, part: Part, model: Model) -> None:
        """Raises Invalid if the LoRA does nothing, or not all, on the model whose files may be here."""
        modules = LoraFiles((LocalHeaders((self.models, *self.folders)),)).modules(model)
        header = part.source.header(part.source.files[0])
        if why := lora_misfit(header, model.family.pipeline, modules):
            raise Invalid(f"{part.name} cannot work on {model.name}: {why}")

    def _planned_lora(self, request: AddRequest, part: Part) -> Lora | None:
        """The LoRA of the built-in catalog without a file whose place this one takes, by its name."""
        planned = self.built_in.loras.get(request.name or part.source.name)
        if planned is None or planned.identity is not None:
            return None
        family = self.built_in.models[self._made_for(planned)].family.name
        return planned if family in part.found.families else None

    def _made_for(self, lora: Lora) -> str:
        return next(model.name for model in self.built_in.models.values() if model.base == lora.base)

    def _gguf(self, request: AddRequest, part: Part) -> Prepared:
        format_ = _GGUF_FORMATS.get(part.found.dtype)
        if format_ is None:
            raise Invalid(
                f"{part.name} holds its weights as {part.found.dtype}; the farm reads {listed(_GGUF_FORMATS)}"
            )
        family = self._family(part)
        request = replace(request, like=request.like or request.name)
        like, remarks = self._like(request, family, part.found.components)
        file = f"{slug(part.source.name)}.gguf"
        entry = dict(self.own.get("models", {}).get(like.name) or {"like": like.name})
        if like.identity is None:
            remarks = (
                *remarks,
                f"also run `farm models add {like.name}`: text encoder and VAE are not here yet",
            )
        return Prepared(
            section="models",
            name=like.name,
            what=f"{FAMILIES[family]} transformer in {part.found.dtype}, for the model {like.name}",
            folder="gguf",
            chosen=(part.chosen(file),),
            entry=entry | {"gguf": dict(entry.get("gguf", {})) | {format_: {"path": file}}},
            origin=part.source.origin,
            remarks=remarks,
            gguf=format_,
        )

    def _checkpoint(self, request: AddRequest, part: Part) -> Prepared:
        family = self._family(part)
        if family not in _CHECKPOINTS:
            return self._separate(request, part.taken_apart(), f"{FAMILIES[family]} checkpoint")
        like, remarks = self._like(request, family, part.found.components)
        lacking = like.components.keys() - part.found.components.keys()
        if lacking:
            raise Invalid(f"{part.name} lacks {listed(sorted(lacking))}; use a complete checkpoint")
        return self._model(request, like, {CHECKPOINT: part}, f"{FAMILIES[family]} checkpoint", remarks)

    def _separate(self, request: AddRequest, parts: list[Part], what: str = "") -> Prepared:
        """A model of one file for each component, as ComfyUI uses them; other components are its family's."""
        denoiser = next((each for each in parts if each.found.kind == "denoiser"), None)
        strange = [
            part for part in parts if part.name.endswith(".gguf") or part.found.kind not in _COMPONENTS
        ]
        if denoiser is None or strange:
            kinds = listed(f"{each.name} ({each.kind})" for each in parts)
            raise Invalid(
                f"these files make no model: {kinds}; give one denoiser as .safetensors and what belongs "
                "to it, or add each file alone"
            )
        family = self._family(denoiser)
        for each in parts:
            if each.found.families and family not in each.found.families:
                raise Invalid(
                    f"{each.name} is the {each.kind} of another family than {denoiser.name} "
                    f"({FAMILIES[family]}); look for the one that belongs to it"
                )
        like, remarks = self._like(request, family, denoiser.found.components)
        readable = [_as_part_of(like, each) for each in parts if not _is_unreadable(each)]
        places = {_place(each): each for each in readable}
        if len(places) != len(readable):
            raise Invalid("two of these files are the same component; give one file for each")
        remarks += tuple(f"{each.name} cannot be read by diffusers" for each in parts if _is_unreadable(each))
        what = what or f"{FAMILIES[family]} in separate files"
        return self._model(request, like, places, what, remarks)

    def _model(
        self, request: AddRequest, like: Model, places: dict[str, Part], what: str, remarks: tuple[str, ...]
    ) -> Prepared:
        """A model of files that others than diffusers use; what they lack is that of the model `like`."""
        parts = list(places.values())
        first = parts[0]
        name = self._name(request, first.source.name, "models")
        license_, more = self._license(request, first.source.license or first.described.license)
        components = {key: size for part in parts for key, size in part.found.components.items()}
        missing = sorted(like.components.keys() - components.keys())
        base, written = self._base(like, missing)
        components |= {part: _parameters(base, written, part) for part in missing}
        for path, part in places.items():
            if part.found.kind == "text_encoder":
                _check_width(part, path, base, like)
        taken = listed([*missing, "configurations and tokenizers"]).replace("`", "")
        return Prepared(
            section="models",
            name=name,
            what=what,
            folder=name,
            chosen=(*written, *(part.chosen(path) for path, part in places.items())),
            entry=model_entry(name, self._pattern(like, name), license_, components, {}),
            origin=", ".join(dict.fromkeys(part.source.origin for part in parts)),
            remarks=(*remarks, f"{taken} are those of {base.origin}", *more),
        )

    def _base(self, like: Model, weights: Sequence[str]) -> tuple[Source, tuple[Chosen, ...]]:
        """Configurations of a model and weights of some parts, from this machine or else its repository."""
        folder = find_files(Path(like.path), (self.models, *self.folders))
        known = self.built_in.models.get(like.name)
        repository = f"hf:{known.path}" if known is not None and "/" in known.path else None
        if folder is not None and (folder / INDEX).is_file():
            source = open_source(str(folder), self.web)
            try:
                return source, pipeline_files(source, like.components, weights=weights)
            except Invalid:
                # The folder of a checkpoint has configurations alone.
                if repository is None:
                    raise
        if repository is None:
            raise Invalid(f"the files of {like.name} are not on this machine; add that model first")
        source = open_source(repository, self.web)
        return source, pipeline_files(source, like.components, weights=weights)

    def _family(self, part: Part, like: str | None = None) -> str:
        """The one family of the file, which the farm renders."""
        rendered = {model.family.name for model in self.catalog.models.values()}
        found = part.found.families
        possible = [family for family in found or rendered if family in rendered]
        if like is not None and self.catalog.models[like].family.name in possible:
            return self.catalog.models[like].family.name
        if len(possible) == 1:
            return possible[0]
        if not possible:
            names = " or ".join(FAMILIES[family] for family in found)
            can = listed(FAMILIES.get(family, family) for family in sorted(rendered))
            raise Invalid(f"{part.name} is for {names}, which this farm cannot render; it renders {can}")
        raise Invalid(
            f"{part.name} is a {part.kind} whose header does not tell its model "
            f"({' or '.join(FAMILIES[family] for family in sorted(possible))}); "
            "add `--like MODEL`; `farm models` lists them"
        )

    def _like(
        self, request: AddRequest, family: str, components: Mapping[str, int]
    ) -> tuple[Model, tuple[str, ...]]:
        """The model of the catalog that the entry is a variant of: the asked one, or the nearest in size."""
        if request.like is not None:
            like = self.catalog.models[request.like]
            if like.family.name != family:
                raise Invalid(
                    f"`{request.like}` is {FAMILIES[like.family.name]}, but the files are {FAMILIES[family]}"
                )
            return like, ()
        size = next((n for part, n in components.items() if phase_of(part) == "denoise"), 0)
        known = [model for model in self.catalog.models.values() if model.family.name == family]
        known = [model for model in known if model.name in self.built_in.models]
        if not size and len({_denoiser(model) for model in known}) > 1:
            names = listed(model.name for model in known)
            raise Invalid(f"the header does not tell which of {names} it is for; add `--like MODEL`")
        best = min(known, key=lambda model: abs(_denoiser(model) - size) if size else 0)
        alike = [
            each.name for each in known if each.components == best.components and each.steps != best.steps
        ]
        if not alike:
            return best, ()
        return best, (f"taken for a variant of {best.name}; if it is one of {listed(alike)}, add `--like`",)

    def _pattern(self, like: Model, name: str) -> Model:
        """What `like` copies into the entry `name`: never that entry itself, which is replaced."""
        return self.built_in.models.get(name, like) if name == like.name else like

    def _name(self, request: AddRequest, suggested: str, section: Section) -> str:
        replaceable = set(self.own.get(section, {}))
        known: Mapping[str, object] = self.catalog.models
        if section == "models":
            # The pattern's own files.
            replaceable |= {request.like} if request.like in self.built_in.models else set()
        elif section == "textual_inversions":
            known = self.catalog.textual_inversions
        elif section == "upscalers":
            known = self.catalog.upscalers
        elif section == "classifiers":
            known = self.catalog.classifiers
        else:
            known = self.catalog.loras
            replaceable |= {lora.name for lora in self.catalog.loras.values() if lora.identity is None}
        return new_name(request.name, suggested, known, replaceable)

    def _license(self, request: AddRequest, said: str) -> tuple[str, tuple[str, ...]]:
        return (request.license, ()) if request.license is not None else known_license(said, self.catalog)


def _weight_files(source: Source) -> list[Source]:
    """The weight files of a folder or repository without an index, each as a source."""
    files = [file for file in source.files if file.path.endswith((".safetensors", ".gguf"))]
    if not files:
        raise Invalid(f"{source.origin} holds neither a {INDEX} nor a .safetensors or .gguf file")
    if len(files) > _MOST_PARTS:
        some = ", ".join(file.path for file in files[:5])
        raise Invalid(
            f"{source.origin} holds {len(files)} weight files ({some}, …); name the one to add, "
            "on the hub as hf:OWNER/NAME/FILE"
        )
    return [_as_file(source, file, alone=len(files) == 1) for file in files]


def _as_file(source: Source, file: SourceFile, *, alone: bool) -> Source:
    name = source.name if alone else PurePosixPath(file.path).stem
    return replace(source, name=name, files=(file,), is_file=True)


def _parameters(source: Source, chosen: Sequence[Chosen], component: str) -> int:
    """Parameters of a component of a diffusers folder, from the headers of its files."""
    return sum(
        tensor.parameters
        for each in chosen
        if each.path.startswith(f"{component}/") and each.path.endswith(".safetensors") and each.file
        for tensor in source.header(each.file).tensors.values()
    )


def _is_vae_weight(file: SourceFile) -> bool:
    path = PurePosixPath(file.path)
    return path.parts[0] == "vae" and (path.suffix in _WEIGHTS or ".safetensors.index" in path.name)


def _vae_parameters(source: Source) -> int:
    """Parameters of the VAE in the folder of a model, which may hold it in a checkpoint."""
    own = [file for file in source.files if _is_vae_weight(file) and file.path.endswith(".safetensors")]
    if own:
        return sum(tensor.parameters for file in own for tensor in source.header(file).tensors.values())
    checkpoint = source.file(CHECKPOINT)
    if checkpoint is None:
        raise Invalid(f"{source.origin} has no VAE as .safetensors; add that model again")
    return recognise(source.header(checkpoint), CHECKPOINT).components.get("vae", 0)


def _is_unreadable(part: Part) -> bool:
    """Whether diffusers knows the VAE of this family only under its own names."""
    found = part.found
    return found.kind == "vae" and found.families in _UNREADABLE_VAES and not found.diffusers_names


def _as_part_of(model: Model, part: Part) -> Part:
    """A text encoder by its name in the model: T5 is the second of FLUX.1 and the only one of Chroma."""
    (name, size), *_ = part.found.components.items()
    if part.found.kind != "text_encoder" or name in model.components:
        return part
    return replace(part, found=replace(part.found, components={"text_encoder": size}))


def _place(part: Part) -> str:
    component = next(iter(part.found.components))
    if part.found.kind == "text_encoder":
        return f"{component}/model.safetensors"
    name = "diffusion_pytorch_model.safetensors" if part.found.diffusers_names else ORIGINAL
    return f"{component}/{name}"


def _check_width(part: Part, path: str, base: Source, like: Model) -> None:
    """Raises Invalid if a text encoder is not as wide as that of the configuration.

    FLUX.2 klein 4B and 9B read Qwen3 of 4 and of 8 billion parameters.
    """
    component = path.partition("/")[0]
    if base.file(f"{component}/config.json") is None:
        return
    config = base.json(f"{component}/config.json")
    config = config.get("text_config", config)
    wanted = config.get("hidden_size", config.get("d_model"))
    header = part.source.header(part.source.files[0]).below(part.prefix)
    tokens = next((tensor for key, tensor in header.tensors.items() if key.endswith(_TOKENS)), None)
    if wanted and tokens and tokens.shape[-1] != wanted:
        raise Invalid(
            f"{part.name} is a text encoder of width {tokens.shape[-1]:,}, but {like.name} reads one of "
            f"width {wanted:,} ({like.components[component] / 1e9:.1f} billion parameters); look for that one"
        )


def _triggers(said: Described, planned: Lora | None) -> tuple[list[str], tuple[str, ...]]:
    """The trigger words of a LoRA, and a remark if its file does not state them."""
    words = list(said.triggers)
    if planned is not None and planned.triggers and (said.trigger_is_a_guess or not words):
        words = list(planned.triggers)
        return words, (
            f"trigger word `{words[0]}` is that of the built-in entry; edit the entry if it is wrong",
        )
    if not said.trigger_is_a_guess:
        return words, ()
    guess = f"trigger word `{words[0]}` is the most frequent tag of its training pictures"
    return words, (f"{guess}; edit the entry if it is wrong",)


def _denoiser(model: Model) -> int:
    return next(size for part, size in model.components.items() if phase_of(part) == "denoise")

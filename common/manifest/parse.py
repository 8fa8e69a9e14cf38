"""Parses a manifest from YAML to `Manifest` and reports all problems at once, each with its line."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from common.catalog import Catalog
from common.document import tree
from common.document.source import SourceText
from common.document.tree import YamlNode, described
from common.errors import InvalidDocument, Problem
from common.manifest import value_remedies
from common.manifest.catalog_check import check_catalog
from common.manifest.columns import check_columns
from common.manifest.composition import composed, document
from common.manifest.files import FileReader
from common.manifest.groups import GROUP_KEYS, read_defaults, read_groups
from common.manifest.key_remedies import of_manifest
from common.manifest.limits import check_product
from common.manifest.model import Limits, Manifest, Output, ShotFields
from common.manifest.output_keys import OUTPUT_KEYS, SectionKey, check_exports, check_quality
from common.manifest.plain_values import Choice, Exact, Later, Name, Number, Switch, Text, Version
from common.manifest.presets import presets_schema, read_presets
from common.manifest.prompt_texts import check_tags, prompt_texts, templates
from common.manifest.reading import MAX_FINDINGS, Key, Reading, TooManyError, read_keys
from common.manifest.references import check_references
from common.manifest.shot_keys import SHOT_KEYS
from common.manifest.shot_values import mapping_schema
from common.manifest.wildcard_sources import Wildcards, add_used

LIMITS_KEYS = {
    "max_images": Key(
        Number(1, 1_000_000_000, whole=True),
        "Maximum number of images, counted before `exclude`. Default: 10,000.",
    ),
    "max_cost": Key(Exact(Number(0.000001, 1e9)), "Maximum cost, in the farm's currency."),
}
_FILES = {"anyOf": [Text().schema(), {"type": "array", "items": Text().schema(), "minItems": 1}]}
MANIFEST_KEYS = {
    "version": Key(Version(), "Version of the manifest format: 1."),
    "name": Key(Name(), "Name of the job. Default: the name of the file."),
    "extends": Key(
        Later(_FILES), "A base manifest, or a list of base manifests; this manifest overrides them."
    ),
    "random_seed": Key(
        Number(0, 2**63 - 1, whole=True, habit=value_remedies.random_seed),
        "Changes all draws and random seeds. Default: 0.",
    ),
    "defaults": Key(Later(mapping_schema(SHOT_KEYS)), "Default settings of all groups."),
    "shots": Key(
        Later({"type": "array", "minItems": 1, "items": mapping_schema(GROUP_KEYS)}), "Groups of shots."
    ),
    "output": Key(SectionKey(Output, OUTPUT_KEYS), "File format and names."),
    "limits": Key(SectionKey(Limits, LIMITS_KEYS), "Limits that the job must not exceed."),
    "use": Key(
        Choice(("commercial", "noncommercial"), habit=value_remedies.use),
        "Purpose of the images, checked against licences. Default: `noncommercial`.",
    ),
    "lane": Key(Name(), "Which nodes may render the job. Default: `public`."),
    "priority": Key(
        Number(0, 100, whole=True, habit=value_remedies.priority),
        "Priority from 0 to 100; higher runs first. Default: 50.",
    ),
    "eco": Key(
        Switch(),
        "Whether cards that need more than four times the energy of the best card in service leave the job "
        "to others. Default: as set in `farm.yaml`, else `true`.",
    ),
    "lists": Key(
        Later({"type": "object", "additionalProperties": {"$ref": "#/$defs/axis"}}),
        "Named lists of values that axes of any group can use: `{list: NAME}`.",
    ),
    "presets": Key(Later(presets_schema()), "Named shot settings that `preset: NAME` applies."),
    "wildcards": Key(Wildcards(), "Wildcard names and their lines, or `{file: NAME}`."),
}

_REMEDY = of_manifest(GROUP_KEYS.keys() - MANIFEST_KEYS.keys(), SHOT_KEYS)


@dataclass(frozen=True, slots=True)
class ParsedManifest:
    """A valid manifest with its source text and warnings."""

    manifest: Manifest
    text: SourceText
    warnings: tuple[Problem, ...] = ()
    #: The values of each `{file: …}`, by path.
    contents: dict[str, tree.Sequence] = field(default_factory=dict)

    @property
    def source(self) -> str:
        return self.text.source

    def problem(self, path: str, message: str, offset: int | None = None) -> Problem:
        """As `SourceText.problem`, with paths in the manifest as written.

        For example `shots[0].prompt`, `defaults.negative`, `shots[0].axes.scene[3]`,
        `shots[0].axes.persona[1].look` or `wildcards.job[2]`.
        """
        return self.text.problem(path, message, offset)

    def invalid(self, problems: list[Problem]) -> InvalidDocument:
        return InvalidDocument(self.source, problems)


def parse_manifest(
    content: str | bytes, *, source: str, files: FileReader | None, catalog: Catalog | None = None
) -> ParsedManifest:
    """Returns the manifest in `content`, with its files and wildcards inlined.

    `source` is its name in messages. `files` reads referenced files; None rejects every `file:`. With a
    `catalog`, its models and LoRAs must exist and their licences must allow the use.

    Raises InvalidDocument with all problems (at most 100), each with line, column and path.
    """
    text, problems = document(content, source)
    whole = composed(text, files)
    text = whole.text
    reading = Reading(text, files, catalog, [*problems, *whole.problems][: MAX_FINDINGS - 1])
    reading.readers, reading.is_partial, reading.lists = whole.readers, whole.is_partial, whole.lists
    for part in (text, *text.parts.values()):
        for doubt in part.doubts:
            reading.warn(doubt, kind="comment")
    manifest = None
    with suppress(TooManyError):
        manifest = _read(text.root, reading)
        if manifest is not None and catalog is not None:
            check_catalog(manifest, catalog, reading)
    if reading.problems or manifest is None:
        raise InvalidDocument(source, reading.problems)
    return ParsedManifest(manifest, text, reading.warnings.told(), reading.contents)


def _read(root: YamlNode, reading: Reading) -> Manifest | None:
    """Returns the valid parts of the manifest; None if even the top level is invalid."""
    if not isinstance(root, tree.Mapping):
        message = f"must be a mapping that starts with `version: 1`, not {described(root)}"
        reading.wrong(root.place, "", message)
        return None
    reading.max_values = _max_images(root) or reading.max_values
    values = read_keys(root, "", MANIFEST_KEYS, reading, remedy=_REMEDY)
    for key, remedy in (("version", "write `version: 1`"), ("shots", "list at least one group")):
        meant = any(
            each.message.endswith((f"`{key}`?", f"write `{key}`", f"rename it to `{key}`"))
            or f"; write `{key}: " in each.message
            for each in reading.problems
        )
        may_stand_elsewhere = key == "shots" and reading.is_partial
        if key not in root.entries and not meant and not may_stand_elsewhere:
            reading.wrong(root.place, "", f"`{key}` is missing; {remedy}")
    presets = read_presets(values["presets"], reading) if "presets" in values else {}
    reading.presets = presets.keys()
    values |= {"presets": presets}
    defaults = read_defaults(values["defaults"], reading) if "defaults" in values else ShotFields()
    groups = read_groups(values["shots"], defaults, presets, reading) if "shots" in values else ()
    check_quality(values.get("output", Output()), groups, reading)
    check_exports(values.get("output", Output()), groups, reading)
    parts = values | {"defaults": defaults}
    check_references(root, parts, groups, reading)
    check_columns(parts, groups, reading)
    output = values.get("output", Output())
    wildcards = add_used(values.get("wildcards", {}), templates(defaults, groups, output, presets), reading)
    check_tags(prompt_texts(defaults, groups, output, presets, wildcards), reading)
    parts = {"version": 1, "defaults": defaults, "shots": groups, "wildcards": wildcards}
    manifest = Manifest(**values | parts)
    check_product(manifest, reading)
    return manifest


def _max_images(root: tree.Mapping) -> int | None:
    """Returns the limit that the manifest sets; needed before the parts that it limits are read."""
    limits = root.get("limits")
    found = limits.get("max_images") if isinstance(limits, tree.Mapping) else None
    number = found.number() if isinstance(found, tree.Scalar) else None
    return number if isinstance(number, int) and number > 0 else None

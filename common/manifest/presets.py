"""Presets: named shot settings that `defaults`, a group or an axis value can use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from common.document import tree
from common.document.tree import YamlNode, child_path, described, flow
from common.manifest.aliases import field_of
from common.manifest.axes import read_value
from common.manifest.key_remedies import of_shots
from common.manifest.model import NOTHING, Group, ShotFields
from common.manifest.reading import Reading
from common.manifest.shot_keys import VALUE_KEYS
from common.manifest.shot_values import mapping_schema
from common.manifest.value_remedies import is_list_file, write
from common.wording import shortened, suggestion

#: Fields that may enclose the text set before them: `{prompt}` in a prompt, `{negative}` in a negative.
PROMPTS = ("prompt", "negative")
_AROUND = {name: re.compile(rf"(?<!\\)\{{\s*{name}\s*\}}") for name in PROMPTS}

_ELSEWHERE = {
    "preset": "; a preset cannot use presets, so write the settings of that one",
    "seeds": "; write it in the group, or in `defaults`",
    "variants": "; write it in the group, or in `defaults`",
    "axes": "; it belongs in a group under `shots`",
}


def is_around(text: str, name: str) -> bool:
    """Returns whether a prompt or negative refers to the text set before it."""
    return "{" in text and _AROUND[name].search(text) is not None


def put_around(text: str, name: str, inner: str) -> str:
    """Returns the text with `inner` in place of `{prompt}` or `{negative}`."""
    return _AROUND[name].sub(lambda _: inner, text)


def presets_schema() -> dict[str, Any]:
    """Returns the JSON Schema of `presets`."""
    keys = {name: key for name, key in VALUE_KEYS.items() if name != "preset"}
    files = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    return {
        "type": "object",
        "properties": {"file": {"anyOf": [*files["anyOf"], mapping_schema(keys)]}},
        "additionalProperties": mapping_schema(keys),
    }


def read_presets(node: YamlNode, reading: Reading) -> dict[str, ShotFields]:
    """Returns the presets by name. Invalid settings are reported and ignored."""
    if not isinstance(node, tree.Mapping):
        message = f"must be a mapping of names to settings, or `{{file: …}}`, not {described(node)}"
        reading.wrong(node.place, "presets", message + write("", _as_mapping(node)))
        reading.is_partial = True
        return {}
    return {name: _read(value, child_path("presets", name), reading) for name, _, value in node.items()}


def _as_mapping(node: YamlNode) -> str | None:
    """Suggests a mapping for a file name, or for a list of presets with names."""
    if isinstance(node, tree.Scalar):
        return f"{{file: {flow(node)}}}" if is_list_file(node.text) else None
    items = node.items if isinstance(node, tree.Sequence) else []
    named = {name.text: item for item in items if (name := _name_of(item)) and isinstance(item, tree.Mapping)}
    entries: dict[str, tuple[tree.Place, YamlNode]] = {
        name: (item.place, tree.Mapping(item.place, {k: v for k, v in item.entries.items() if k != "name"}))
        for name, item in named.items()
    }
    return flow(tree.Mapping(node.place, entries)) if named and len(named) == len(items) else None


def _name_of(item: YamlNode) -> tree.Scalar | None:
    name = item.get("name") if isinstance(item, tree.Mapping) else None
    return name if isinstance(name, tree.Scalar) else None


def _read(node: YamlNode, path: str, reading: Reading) -> ShotFields:
    if not isinstance(node, tree.Mapping):
        meant = f"{{prompt: {flow(node)}}}" if isinstance(node, tree.Scalar) and node.text else None
        message = f"must be a mapping such as `{{steps: 8}}`, not {described(node)}"
        reading.wrong(node.place, path, message + write("", meant))
        return NOTHING
    known: dict[str, tuple[tree.Place, YamlNode]] = {}
    for key, place, value in node.items():
        if key in _ELSEWHERE or field_of(key) is None:
            hint = _ELSEWHERE.get(key) or of_shots(key, node) or suggestion(key, VALUE_KEYS) or "; remove it"
            reading.wrong(place, child_path(path, key), f"unknown key `{shortened(key)}`{hint}")
            continue
        if key not in VALUE_KEYS and (field := field_of(key)) in VALUE_KEYS:
            reading.warn_at(child_path(path, key), f"`{shortened(key)}` is read as `{field}`")
        known[key] = place, value
    read = read_value(tree.Mapping(node.place, known), path, "", reading) if known else None
    return read[1] if read else NOTHING


def with_presets(
    path: str, fields: ShotFields, presets: Mapping[str, ShotFields]
) -> Iterator[tuple[str, ShotFields]]:
    """Yields the presets that a place uses, then the place itself, each with its path.

    Later ones override earlier ones.
    """
    for name in fields.preset:
        if name in presets:
            yield child_path("presets", name), presets[name]
    yield path, fields


def whole(fields: ShotFields, presets: Mapping[str, ShotFields]) -> ShotFields:
    """Returns the fields of a place merged with its presets. LoRAs are not added up."""
    if not fields.preset:
        return fields
    given = {
        name: value
        for _, each in with_presets("", fields, presets)
        for name, value in each
        if value not in (None, ())
    }
    return ShotFields(**{name: given[name] for name in ShotFields.model_fields if name in given})


def used_presets(
    defaults: ShotFields, groups: tuple[Group, ...], presets: Mapping[str, ShotFields]
) -> dict[str, ShotFields]:
    """Returns the presets that are in use, by path."""
    names = dict.fromkeys(defaults.preset)
    for group in groups:
        places = (group, *group.include_sets, *(each for axis in group.axes.values() for each in axis.sets))
        names |= dict.fromkeys(name for fields in places for name in fields.preset)
    return {child_path("presets", name): presets[name] for name in names if name in presets}

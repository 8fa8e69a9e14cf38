"""Combines axes with zip, include and exclude, which work as in CI matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common.document import tree
from common.document.tree import Scalar, YamlNode, child_path, described, flow
from common.manifest import value_remedies
from common.manifest.axes import name_problem, read_value
from common.manifest.model import NOTHING, Axis, ShotFields, Spelling
from common.manifest.plain_values import Text, scalar_of
from common.manifest.reading import Reading
from common.manifest.shot_keys import AXIS_KEYS
from common.manifest.shot_values import mapping_schema
from common.wording import shortened, suggestion


@dataclass(frozen=True, slots=True)
class Zip:
    """`[[format, channel]]`: axes that advance together. A single group does not need the outer list."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> tuple[tuple[str, ...], ...] | None:
        if not isinstance(node, tree.Sequence):
            message = f"must be a list of lists of axis names such as `[[a, b]]`, not {described(node)}"
            reading.wrong(node.place, path, message + value_remedies.write("", self._suggested(node)))
            return None
        flat = bool(node.items) and all(isinstance(item, Scalar) for item in node.items)
        groups = [node] if flat else node.items
        read = [
            self._group(group, path if flat else f"{path}[{i}]", reading) for i, group in enumerate(groups)
        ]
        return tuple(group for group in read if group)

    @staticmethod
    def _suggested(node: YamlNode) -> str | None:
        """Returns the intended groups of `a, b` or `{a: b}`."""
        if isinstance(node, Scalar):
            return f"[{value_remedies.listed(node.text)}]" if "," in node.text else None
        if isinstance(node, tree.Mapping) and node.entries:
            pairs = [
                tree.Sequence(node.place, [Scalar(node.place, key), value]) for key, _, value in node.items()
            ]
            return flow(tree.Sequence(node.place, list(pairs)))
        return None

    @staticmethod
    def _group(node: YamlNode, path: str, reading: Reading) -> tuple[str, ...]:
        if not isinstance(node, tree.Sequence) or len(node.items) < 2:
            found = "one" if isinstance(node, tree.Sequence) and node.items else described(node)
            reading.wrong(node.place, path, f"must list at least two axes, not {found}")
            return ()
        names = [scalar_of(item, f"{path}[{i}]", reading) for i, item in enumerate(node.items)]
        return tuple(name.text for name in names if name)

    def schema(self) -> dict[str, Any]:
        group = {"type": "array", "items": {"type": "string"}, "minItems": 2}
        return {"anyOf": [{"type": "array", "items": group}, group]}


@dataclass(frozen=True, slots=True)
class Entries:
    """A list of mappings kept as nodes: `include` and `exclude` can be read only once the axes are known."""

    about: str

    def read(self, node: YamlNode, path: str, reading: Reading) -> list[tree.Mapping] | None:
        if not isinstance(node, tree.Sequence):
            hint = value_remedies.write("", f"[{flow(node)}]" if isinstance(node, tree.Mapping) else None)
            reading.wrong(node.place, path, f"must be a list of mappings, not {described(node)}{hint}")
            return None
        for index, item in enumerate(node.items):
            if not isinstance(item, tree.Mapping) or not item.entries:
                message = f"must be a mapping of axes to values, not {described(item)}"
                reading.wrong(item.place, f"{path}[{index}]", message)
        return [item for item in node.items if isinstance(item, tree.Mapping)]

    def schema(self) -> dict[str, Any]:
        properties = {}
        if self.about == "include":
            properties = mapping_schema(AXIS_KEYS)["properties"]
        text = Text().schema()
        value = {"anyOf": [text, {"type": "object", "additionalProperties": text}]}
        entry = {
            "type": "object",
            "minProperties": 1,
            "properties": properties,
            "additionalProperties": value,
        }
        return {"type": "array", "items": entry}


@dataclass(frozen=True, slots=True)
class TypedAxes:
    """The axes of a group: the valid ones, and the names of all."""

    read: dict[str, Axis]
    names: tuple[str, ...]

    def unknown(self, name: str) -> str | None:
        """Returns what is wrong with `axis` or `axis.field` if it does not exist, else None."""
        axis, _, field = name.partition(".")
        if axis not in self.names:
            return f"unknown axis `{shortened(axis)}`{suggestion(axis, self.names)}"
        if axis not in self.read:
            return None
        values = self.read[axis].values
        fields = {known: None for value in values if isinstance(value, dict) for known in value}
        if field and field not in {**fields, "name": None, "index": None}:
            return f"`{axis}` has no field `{field}`{suggestion(field, fields)}"
        return None


def read_include(
    node: YamlNode | None, path: str, axes: TypedAxes, reading: Reading
) -> tuple[tuple[dict[str, Spelling], ...], tuple[ShotFields, ...]]:
    """Returns the texts of each entry of `include`, and the fields that each sets."""
    spelled: list[dict[str, Spelling]] = []
    sets: list[ShotFields] = []
    for index, entry in enumerate(_mappings(node)):
        texts: dict[str, Spelling] = {}
        merged: dict[str, Any] = {}
        if _holds_list(entry, f"{path}[{index}]", reading):
            continue
        for key, place, value in entry.items():
            where = child_path(f"{path}[{index}]", key)
            problem = axes.unknown(key) if "." in key else None if key == "seed" else name_problem(key)
            if problem:
                reading.wrong(place, where, problem)
                continue
            read = read_value(value, where, key, reading)
            if read is not None:
                texts[key] = read[0]
                merged.update(_given_fields(read[1], merged))
        spelled.append(texts)
        sets.append(ShotFields(**merged) if merged else NOTHING)
    return tuple(spelled), tuple(sets)


def _holds_list(entry: tree.Mapping, path: str, reading: Reading) -> bool:
    """Returns whether an entry has several values for an axis, after reporting this."""
    lists = [key for key, _, value in entry.items() if isinstance(value, tree.Sequence) and value.items]
    lists = [key for key in lists if key not in ("loras", "preset")]
    if lists:
        message = (
            f"takes one value for `{shortened(lists[0])}`, not a list; {value_remedies.one_entry_each(entry)}"
        )
        reading.wrong(entry.place, path, message)
    return bool(lists)


def _given_fields(fields: ShotFields, before: dict[str, Any]) -> dict[str, Any]:
    given = {name: getattr(fields, name) for name in fields.model_fields_set}
    for name in given.keys() & {"loras", "preset"}:
        given[name] = before.get(name, ()) + given[name]
    return given


def read_exclude(
    node: YamlNode | None, path: str, axes: TypedAxes, reading: Reading
) -> tuple[dict[str, str], ...]:
    """Returns the entries of `exclude` by `axis` or `axis.field`."""
    entries = []
    for index, entry in enumerate(_mappings(node)):
        where = f"{path}[{index}]"
        texts: dict[str, str] = {}
        if _holds_list(entry, where, reading):
            continue
        for key, place, value in entry.items():
            for name, scalar in _flat(key, value, child_path(where, key), reading):
                problem = axes.unknown(name)
                if problem:
                    reading.wrong(place, child_path(where, key), problem)
                texts[name] = scalar.text
        entries.append(texts)
    return tuple(entry for entry in entries if entry)


def _flat(key: str, value: YamlNode, path: str, reading: Reading) -> list[tuple[str, Scalar]]:
    """Flattens `format: {name: story}` to `format.name: story`."""
    if isinstance(value, tree.Mapping) and "." not in key:
        found = [(f"{key}.{name}", scalar_of(item, path, reading)) for name, _, item in value.items()]
    else:
        found = [(key, scalar_of(value, path, reading))]
    return [(name, scalar) for name, scalar in found if scalar]


def check_zip(
    node: YamlNode | None, path: str, zips: tuple[tuple[str, ...], ...], axes: TypedAxes, reading: Reading
) -> None:
    """Reports zipped axes that are unknown, zipped twice, or of different lengths."""
    if node is None:
        return
    seen: set[str] = set()
    for group in zips:
        for name in group:
            if problem := axes.unknown(name):
                reading.wrong(node.place, path, problem)
            elif name in seen:
                reading.wrong(node.place, path, f"axis `{name}` is zipped twice")
            seen.add(name)
        lengths = {name: len(axes.read[name].values) for name in group if name in axes.read}
        if len(set(lengths.values())) > 1:
            counted = ", ".join(f"`{name}` has {count}" for name, count in lengths.items())
            reading.wrong(node.place, path, f"zipped axes must have the same number of values: {counted}")


def _mappings(node: YamlNode | None) -> list[tree.Mapping]:
    items = node.items if isinstance(node, tree.Sequence) else []
    return [item for item in items if isinstance(item, tree.Mapping)]

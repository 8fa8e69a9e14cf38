"""Axes of a group: lists, files and ranges as values that are spelled and that set shot fields."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from common.document import nodes
from common.document.nodes import Node, Scalar, child_path, described, flow, spelling
from common.manifest import value_remedies
from common.manifest.key_remedies import of_axis
from common.manifest.list_files import read_file_list
from common.manifest.model import NOTHING, Axis, ShotFields, Spelling
from common.manifest.plain_values import Later, Number, Switch, Text, scalar_of
from common.manifest.ranges import RANGE_KEYS, ranged, too_many
from common.manifest.reading import Key, Reading, read_keys
from common.manifest.shot_keys import AXIS_KEYS
from common.manifest.shot_values import mapping_schema
from common.wording import shortened

AXIS_NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,62}"
_LETTERS = "letters (a-z, A-Z), digits, `_` and `-`, starting with a letter"

#: Names that prompts and output patterns give a meaning of their own.
RESERVED = {
    "trigger": "it stands for the trigger words of the shot's LoRAs",
    "seed": "it stands for the shot's seed",
    "index": "it stands for the shot's number",
}
_NOT_AXES = {
    "seeds": "write `seeds:` beside `axes`",
    "variants": "write `variants:` beside `axes`",
    "seed": "write `seeds:` beside `axes`",
}

_VALUES_KEYS = {
    "values": Key(Later({"type": "array"}), "The values."),
    "expand": Key(Switch(), "Whether `{a|b}` and `__wildcard__` inside the values expand."),
}
_FILE_KEYS = {
    "file": Key(Later(Text().schema()), "A txt, csv, json or yaml file beside the manifest."),
    "expand": _VALUES_KEYS["expand"],
}


@dataclass(frozen=True, slots=True)
class Axes:
    """Axis name to its values."""

    def read(self, node: Node, path: str, reading: Reading) -> dict[str, Axis] | None:
        if not isinstance(node, nodes.Mapping):
            message = f"must be a mapping of axis names to values, not {described(node)}"
            reading.wrong(node.place, path, message + _merged(node))
            return None
        axes: dict[str, Axis] = {}
        for name, place, value in node.items():
            where = child_path(path, name)
            problem = name_problem(name)
            if problem:
                reading.wrong(place, where, problem)
                continue
            axis = _read_axis(value, where, name, reading)
            if axis is not None:
                axes[name] = axis
        return axes

    def schema(self) -> dict[str, Any]:
        properties = {name: _field_axis_schema(name, key) for name, key in AXIS_KEYS.items()}
        return {
            "type": "object",
            "properties": properties,
            "propertyNames": {"pattern": f"^{AXIS_NAME}$", "not": {"enum": sorted({*RESERVED, *_NOT_AXES})}},
            "additionalProperties": {"$ref": "#/$defs/axis"},
        }


def _merged(node: Node) -> str:
    """What to write for a list of axes, one a mapping."""
    items = node.items if isinstance(node, nodes.Sequence) else []
    entries = {
        key: entry for item in items if isinstance(item, nodes.Mapping) for key, entry in item.entries.items()
    }
    whole = flow(nodes.Mapping(node.place, entries))
    return value_remedies.write("", whole) if entries else ""


def name_problem(name: str) -> str | None:
    """Why an axis cannot have this name, if so."""
    if name in _NOT_AXES:
        return f"`{name}` cannot be an axis; {_NOT_AXES[name]}"
    if name in RESERVED:
        return f"`{name}` is reserved: {RESERVED[name]}; choose another name"
    if not re.fullmatch(AXIS_NAME, name):
        word = shortened(name)
        return f"axis name `{word}` must be {_LETTERS}, at most 63"
    return None


def _read_axis(node: Node, path: str, name: str, reading: Reading) -> Axis | None:
    """An axis in any of its forms; None after reporting why it has no values."""
    if not isinstance(node, nodes.Mapping):
        return _listed(node, path, name, False, reading)
    found: Node | None
    if "file" in node.entries:
        read = read_keys(node, path, _FILE_KEYS, reading)
        found = read_file_list(node, path, reading)
    elif "values" in node.entries:
        read = read_keys(node, path, _VALUES_KEYS, reading)
        found = read["values"]
    elif node.entries.keys() & {"from", "to"}:
        numbers = ranged(node, path, reading)
        if numbers is None:
            return None
        if name not in AXIS_KEYS:
            return Axis(values=numbers)
        read, found = {}, nodes.Sequence(node.place, [Scalar(node.place, number) for number in numbers])
    else:
        forms = "`{file: …}`, `{from: …, to: …, step: …}` or `{values: […], expand: true}`"
        reading.wrong(node.place, path, f"must be a list, {forms}{of_axis(node)}")
        return None
    return None if found is None else _listed(found, path, name, read.get("expand", False), reading)


def _listed(node: Node, path: str, name: str, expand: bool, reading: Reading) -> Axis | None:
    """The axis of a list; None after reporting what is wrong with any of it."""
    if not isinstance(node, nodes.Sequence):
        text = node.text if isinstance(node, Scalar) else ""
        hint = (
            value_remedies.write("", value_remedies.spelled_range(text) or value_remedies.listed(text))
            if text
            else ""
        )
        if not isinstance(node, Scalar) or node.place.index not in reading.text.commented:
            reading.wrong(node.place, path, f"must be a list, not {described(node)}{hint}")
        return None
    if not _is_no_range(node, path, name, reading):
        return None
    if not node.items:
        reading.wrong(node.place, path, "has no values, so there would be no shots")
        return None
    if too_many(len(node.items), node.place, path, reading):
        return None
    read = [read_value(item, f"{path}[{i}]", name, reading) for i, item in enumerate(node.items)]
    right = [value for value in read if value is not None]
    if len(right) < len(read):
        return None
    sets = tuple(fields for _, fields in right)
    silent = all(fields is NOTHING for fields in sets)
    return Axis(values=tuple(value for value, _ in right), sets=() if silent else sets, expand=expand)


def _is_no_range(node: nodes.Sequence, path: str, name: str, reading: Reading) -> bool:
    """False after reporting a list whose only text spells a range for a number; others are warned of."""
    only = node.items[0] if len(node.items) == 1 else None
    if not isinstance(only, Scalar) or only.style or only.number() is not None:
        return True
    meant = value_remedies.spelled_range(only.text)
    if meant is None:
        return True
    if name in AXIS_KEYS and isinstance(AXIS_KEYS[name].kind, Number):
        message = f"must hold numbers, not {described(only)}; write `{name}: {meant}`"
        reading.wrong(only.place, f"{path}[0]", message)
        return False
    if name not in AXIS_KEYS and value_remedies.is_written_as_range(only.text):
        reading.warn_at(
            path, f"`{shortened(only.text)}` is one text here; for a range write `{name}: {meant}`"
        )
    return True


def read_value(node: Node, path: str, name: str, reading: Reading) -> tuple[Spelling, ShotFields] | None:
    """One value of the axis `name`: what text reads, and what it sets; None after reporting a wrong one."""
    has_several = isinstance(node, nodes.Mapping) and name in node.entries
    if name in AXIS_KEYS and not has_several:
        field = AXIS_KEYS[name].kind.read(node, path, reading)
        if field is None:
            return None
        return _spelled(node), ShotFields(**{_field(name): field})
    if isinstance(node, nodes.Mapping) and not _is_braced(node, reading):
        return _mapped(node, path, reading)
    scalar = scalar_of(node, path, reading)
    return None if scalar is None else (scalar.text, NOTHING)


def _is_braced(node: nodes.Mapping, reading: Reading) -> bool:
    """Whether a mapping is a text such as `{a|b}` without its quotes."""
    empty = all(isinstance(value, Scalar) and value.kind == "null" for _, _, value in node.items())
    return empty and bool(node.entries) and bool(reading.text.braces(node))


def _spelled(node: Node) -> Spelling:
    if isinstance(node, nodes.Mapping):
        return {key: spelling(value) for key, _, value in node.items()}
    return spelling(node)


def _field(key: str) -> str:
    return "loras" if key == "lora" else key


def _mapped(node: nodes.Mapping, path: str, reading: Reading) -> tuple[Spelling, ShotFields] | None:
    if not node.entries:
        reading.wrong(node.place, path, "is an empty mapping")
        return None
    texts: dict[str, str] = {}
    sets: dict[str, Any] = {}
    for key, place, value in node.items():
        where = child_path(path, key)
        if key in _NOT_AXES or key == "index" or not re.fullmatch(AXIS_NAME, key):
            reading.wrong(place, where, _field_problem(key))
        elif key in AXIS_KEYS and not _is_empty_text(value, key):
            field = AXIS_KEYS[key].kind.read(value, where, reading)
            if field is not None:
                sets[_field(key)] = sets.get(_field(key), ()) + field if _field(key) == "loras" else field
            texts[key] = spelling(value)
        else:
            scalar = scalar_of(value, where, reading)
            texts[key] = scalar.text if scalar else ""
    return texts, ShotFields(**sets) if sets else NOTHING


def _is_empty_text(value: Node, key: str) -> bool:
    """An empty cell of a csv column such as `steps` sets nothing."""
    return key != "negative" and isinstance(value, Scalar) and value.text == "" and bool(value.style)


def _field_problem(key: str) -> str:
    if key in _NOT_AXES:
        return f"`{key}` cannot differ by axis; {_NOT_AXES[key]}"
    if key == "index":
        return "`index` is reserved: it stands for the value's number; choose another name"
    return f"field name `{shortened(key)}` must be {_LETTERS}"


def axis_definitions() -> dict[str, Any]:
    """JSON Schema of axes, for `$defs`: the parts that all of them share, and an axis of any name."""
    text = Text().schema()
    mapping = {
        "type": "object",
        "minProperties": 1,
        "properties": {
            name: {**key.kind.schema(), "description": key.about} for name, key in AXIS_KEYS.items()
        },
        "propertyNames": {"pattern": f"^{AXIS_NAME}$", "not": {"enum": sorted({"index", *_NOT_AXES})}},
        "additionalProperties": text,
    }
    return {
        "mappingValue": mapping,
        "fileAxis": mapping_schema(_FILE_KEYS, required=("file",)),
        "rangeAxis": mapping_schema(RANGE_KEYS, required=("from", "to")),
        "axis": _axis_schema({"anyOf": [text, {"$ref": "#/$defs/mappingValue"}]}),
    }


def _axis_schema(value: dict[str, Any]) -> dict[str, Any]:
    values = {"type": "array", "minItems": 1, "items": value}
    long_form = mapping_schema(_VALUES_KEYS, required=("values",))
    long_form["properties"]["values"] = values
    return {"anyOf": [values, {"$ref": "#/$defs/fileAxis"}, {"$ref": "#/$defs/rangeAxis"}, long_form]}


def _field_axis_schema(name: str, key: Key) -> dict[str, Any]:
    """Of an axis named like a shot field: values of that field, or mappings that hold it among others."""
    several = {"allOf": [{"$ref": "#/$defs/mappingValue"}, {"required": [name]}]}
    return {
        **_axis_schema({"anyOf": [key.kind.schema(), several]}),
        "description": f"Sets `{name}`. {key.about}",
    }

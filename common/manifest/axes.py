"""Parses the axes of a group: lists, files and ranges become texts and the shot fields they set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from common.catalog.samplers import sampler_of
from common.document import tree
from common.document.tree import Scalar, YamlNode, child_path, described, flow, spelling
from common.manifest import tables, value_remedies
from common.manifest.aliases import SIDES, field_of
from common.manifest.axis_remedies import of_axis, of_axis_text, one_file
from common.manifest.list_files import FileOptions, read_file_list
from common.manifest.model import NOTHING, Axis, ShotFields, Size, Spelling
from common.manifest.plain_values import Later, Number, Switch, Text, scalar_of
from common.manifest.prompt import COLUMN_INDEX, NAME_CHARACTER, normal
from common.manifest.ranges import RANGE_KEYS, ranged, too_many
from common.manifest.reading import MERGE, Key, Reading, read_keys
from common.manifest.shot_keys import AXIS_KEYS, VALUE_KEYS
from common.manifest.shot_values import SIDE, SizeForm, mapping_schema
from common.wording import shortened, suggestion

AXIS_NAME = rf"(?![\d-]){NAME_CHARACTER}{{1,63}}"
_LETTERS = "letters, digits, `_` and `-`, starting with a letter"

#: Names that have a special meaning in prompts and output patterns.
RESERVED = {
    "trigger": "it stands for the trigger words of the shot's LoRAs",
    "seed": "it stands for the shot's seed",
    "index": "it stands for the shot's number",
    "export": "it stands for the size of a file in `output.name`",
}
_NOT_AXES = {
    "seeds": "write `seeds:` next to `axes`",
    "variants": "write `variants:` next to `axes`",
    "seed": "write `seeds:` next to `axes`",
}

_COLUMNS = Key(
    Later({"type": "object", "additionalProperties": {"type": ["string", "null"]}}),
    "Columns to rename (`{Variant SKU: sku}`), or to use as plain text only (`{size: null}`).",
)

_VALUES_KEYS = {
    "values": Key(Later({"type": "array"}), "The values."),
    "expand": Key(
        Switch(), "Whether `{a|b}` and `__wildcard__` in the values are expanded. Default: `false`."
    ),
    "columns": _COLUMNS,
}
_FILE_KEYS = {
    "file": Key(Later(Text().schema()), "A txt, csv, xlsx, json or yaml file in the folder of the manifest."),
    "expand": _VALUES_KEYS["expand"],
    "columns": _COLUMNS,
    "sheet": Key(Text(), "Sheet of a workbook. Default: the first."),
    "key": Key(Text(), "Dotted path of the list in a JSON or YAML file, such as `campaign.personas`."),
}

_LIST_KEYS = {
    "list": Key(Text(), "Name of a list under `lists`."),
    "expand": _VALUES_KEYS["expand"],
}


@dataclass(frozen=True, slots=True)
class Axes:
    """The value of `axes`: a mapping of axis names to values."""

    def read(self, node: YamlNode, path: str, reading: Reading) -> dict[str, Axis] | None:
        if not isinstance(node, tree.Mapping):
            message = f"must be a mapping of axis names to values, not {described(node)}"
            reading.wrong(node.place, path, message + _merged(node))
            return None
        axes: dict[str, Axis] = {}
        for typed, place, value in node.items():
            where, name = child_path(path, typed), normal(typed)
            problem = name_problem(name) or (f"`{name}` is given twice; keep one" if name in axes else None)
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


def _merged(node: YamlNode) -> str:
    """Returns what to write instead of a list of mappings with one axis each."""
    items = node.items if isinstance(node, tree.Sequence) else []
    entries = {
        key: entry for item in items if isinstance(item, tree.Mapping) for key, entry in item.entries.items()
    }
    whole = flow(tree.Mapping(node.place, entries))
    return value_remedies.write("", whole) if entries else ""


def name_problem(name: str) -> str | None:
    """Returns why an axis cannot have this name, or None."""
    if name in _NOT_AXES:
        return f"`{name}` cannot be an axis; {_NOT_AXES[name]}"
    if name in RESERVED:
        return f"`{name}` is reserved: {RESERVED[name]}; choose another name"
    if not re.fullmatch(AXIS_NAME, name):
        word = shortened(name)
        return f"axis name `{word}` must consist of {_LETTERS}, at most 63 characters"
    return None


def _read_axis(node: YamlNode, path: str, name: str, reading: Reading) -> Axis | None:
    """Returns an axis given in any form; returns None after reporting why it has no values."""
    if not isinstance(node, tree.Mapping):
        return _listed(node, path, name, False, reading)
    found: YamlNode | None
    if "file" in node.entries:
        read = read_keys(node, path, _FILE_KEYS, reading)
        found = read_file_list(node, path, reading, FileOptions(read.get("sheet"), read.get("key")))
    elif "values" in node.entries:
        read = read_keys(node, path, _VALUES_KEYS, reading)
        found = read["values"]
    elif node.entries.keys() & {"from", "to"}:
        numbers = ranged(node, path, reading)
        if numbers is None:
            return None
        if name not in AXIS_KEYS:
            return Axis(values=numbers)
        read, found = {}, tree.Sequence(node.place, [Scalar(node.place, number) for number in numbers])
    elif "list" in node.entries:
        # The list is unknown; the lookup of lists has reported this already.
        return None
    else:
        forms = "`{file: …}`, `{list: …}`, `{from: …, to: …, step: …}` or `{values: […], expand: true}`"
        reading.wrong(node.place, path, f"must be a list, {forms}{of_axis(node)}")
        return None
    if found is not None and "columns" in read:
        found = _renamed(found, read["columns"], path, reading)
    return None if found is None else _listed(found, path, name, read.get("expand", False), reading)


def _renamed(values: YamlNode, columns: YamlNode, path: str, reading: Reading) -> YamlNode | None:
    """Returns the values with fields renamed according to `columns`; reports unknown columns.

    Returns None if `columns` is not a mapping.
    """
    where = f"{path}.columns"
    if not isinstance(columns, tree.Mapping) or not isinstance(values, tree.Sequence):
        reading.wrong(
            columns.place, where, f"must be a mapping of columns to names, not {described(columns)}"
        )
        return None
    names: dict[str, str | None] = {}
    for key, place, value in columns.items():
        if not isinstance(value, Scalar):
            reading.wrong(place, child_path(where, key), f"must be a name or null, not {described(value)}")
        else:
            names[key] = None if value.kind == "null" else value.text
    renamed, unknown = tables.renamed(values, names)
    known = {key for item in values.items if isinstance(item, tree.Mapping) for key in item.entries}
    for key in unknown:
        message = f"there is no column `{shortened(key)}`{suggestion(key, known)}"
        reading.wrong(columns.entries[key][0], child_path(where, key), message)
    reading.plain[path] = frozenset(key for key, name in names.items() if name is None)
    return renamed


def _listed(node: YamlNode, path: str, name: str, expand: bool, reading: Reading) -> Axis | None:
    """Returns the axis of a list; returns None after reporting problems in its values."""
    if not isinstance(node, tree.Sequence):
        hint = value_remedies.write("", of_axis_text(node, reading.lists)) if isinstance(node, Scalar) else ""
        if not isinstance(node, Scalar) or not reading.text.is_commented(node.place):
            reading.wrong(node.place, path, f"must be a list, not {described(node)}{hint}")
        return None
    if not _is_no_range(node, path, name, reading):
        return None
    if (file := one_file(node)) is not None and path not in reading.contents:
        message = f"is a file name instead of values; write `{file}`"
        reading.wrong(node.place, path, message)
        return None
    if not node.items:
        reading.wrong(node.place, path, "has no values, so there would be no shots")
        return None
    if too_many(len(node.items), node.place, path, reading):
        return None
    read = _read_values(node, path, name, reading)
    right = [value for value in read if value is not None]
    if len(right) < len(read):
        return None
    sets = tuple(fields for _, fields in right)
    silent = all(fields is NOTHING for fields in sets)
    return Axis(values=tuple(value for value, _ in right), sets=() if silent else sets, expand=expand)


def _read_values(
    node: tree.Sequence, path: str, name: str, reading: Reading
) -> list[tuple[Spelling, ShotFields] | None]:
    """Reads the values of a list. Problems of a file are reported once per column, with the first row."""
    if path not in reading.contents:
        return [read_value(item, f"{path}[{i}]", name, reading) for i, item in enumerate(node.items)]
    with reading.once_a_column():
        return [read_value(item, f"{path}[{i}]", name, reading) for i, item in enumerate(node.items)]


def _is_no_range(node: tree.Sequence, path: str, name: str, reading: Reading) -> bool:
    """Returns False after reporting a list whose only text is a range of numbers; may only warn."""
    only = node.items[0] if len(node.items) == 1 else None
    if not isinstance(only, Scalar) or only.style or only.number() is not None:
        return True
    meant = value_remedies.spelled_range(only.text)
    if meant is None:
        return True
    if name in AXIS_KEYS and isinstance(AXIS_KEYS[name].kind, Number):
        message = f"must contain numbers, not {described(only)}; write `{name}: {meant}`"
        reading.wrong(only.place, f"{path}[0]", message)
        return False
    if name not in AXIS_KEYS and value_remedies.is_written_as_range(only.text):
        reading.warn_at(
            path, f"`{shortened(only.text)}` is one text here; for a range write `{name}: {meant}`"
        )
    return True


def read_value(node: YamlNode, path: str, name: str, reading: Reading) -> tuple[Spelling, ShotFields] | None:
    """Returns the text of one value and the fields it sets; returns None after reporting problems."""
    field = field_of(name)
    has_several = isinstance(node, tree.Mapping) and name in node.entries
    if field in VALUE_KEYS and not has_several:
        read = VALUE_KEYS[field].kind.read(_in_our_words(field, node), path, reading)
        return None if read is None else (_spelled(node), ShotFields(**{field: read}))
    if isinstance(node, tree.Mapping) and not _is_braced(node, reading):
        return _mapped(node, path, reading)
    scalar = scalar_of(node, path, reading)
    return None if scalar is None else (scalar.text, NOTHING)


def _is_braced(node: tree.Mapping, reading: Reading) -> bool:
    """Returns whether a mapping is a text such as `{a|b}` without quotes."""
    empty = all(isinstance(value, Scalar) and value.kind == "null" for _, _, value in node.items())
    return empty and bool(node.entries) and bool(reading.text.braces(node))


def _spelled(node: YamlNode) -> Spelling:
    if isinstance(node, tree.Mapping):
        return {key: spelling(value) for key, _, value in node.items()}
    return spelling(node)


def _mapped(node: tree.Mapping, path: str, reading: Reading) -> tuple[Spelling, ShotFields] | None:
    """Returns the texts of a mapping by field, and the shot fields that they set, also by other names."""
    if not node.entries:
        reading.wrong(node.place, path, "is an empty mapping")
        return None
    plain = reading.plain.get(path.rpartition("[")[0], frozenset())
    texts: dict[str, str] = {}
    sets: dict[str, Any] = {}
    sides: dict[str, tuple[str, YamlNode]] = {}
    for key, place, value in node.items():
        where = child_path(path, key)
        if key.partition(".")[0] == MERGE:
            reading.wrong(place, where, "YAML 1.2 has no merge keys; write the fields out")
            continue
        field = None if key in plain else field_of(key)
        if field is None or _sets_nothing(field, value):
            texts[_text_key(key)] = _text(value, where, reading)
            continue
        texts[_text_key(key)] = spelling(value)
        if field in SIDES:
            sides[field] = key, value
        elif field in sets and field != "loras":
            reading.wrong(
                place, where, f"sets `{field}`, which another field of the same value also sets; keep one"
            )
        else:
            read = VALUE_KEYS[field].kind.read(_in_our_words(field, value), where, reading)
            if read is not None:
                sets[field] = sets.get(field, ()) + read if field == "loras" else read
    if len(sides) == len(SIDES) and "size" not in sets:
        size = _size_of(sides, node.place, path, reading)
        sets |= {"size": size} if size else {}
    if "name" not in texts and (name := next((key for key in texts if key.lower() == "name"), None)):
        texts["name"] = texts[name]
    return texts, ShotFields(**sets) if sets else NOTHING


def _text_key(key: str) -> str:
    """Returns the name by which `{axis.field}` looks up a field."""
    return COLUMN_INDEX if key == "index" else normal(" ".join(key.split()))


def _sets_nothing(field: str, value: YamlNode) -> bool:
    """Returns whether a value is ignored: null, or an empty cell except in `negative`."""
    is_empty = isinstance(value, Scalar) and value.text == "" and field != "negative"
    return is_empty or (isinstance(value, Scalar) and value.kind == "null")


def _text(value: YamlNode, path: str, reading: Reading) -> str:
    """Returns the text of a field that sets nothing: list items are joined, null becomes empty."""
    if isinstance(value, tree.Mapping):
        remedy = "give each text a separate field"
        reading.wrong(value.place, path, f"must be text or a list of texts, not {described(value)}; {remedy}")
        return ""
    return "" if isinstance(value, Scalar) and value.kind == "null" else spelling(value)


def _in_our_words(field: str, value: YamlNode) -> YamlNode:
    """Converts a value to our spelling: joins lists of prompts and translates names of samplers."""
    if field in ("prompt", "negative") and isinstance(value, tree.Sequence):
        return Scalar(value.place, spelling(value), '"')
    if field == "sampler" and isinstance(value, Scalar):
        return Scalar(value.place, sampler_of(value.text) or value.text, value.style)
    return value


def _size_of(
    sides: dict[str, tuple[str, YamlNode]], place: tree.Place, path: str, reading: Reading
) -> Size | None:
    """Returns the size given by the fields `width` and `height`; `sides` has the key and value of each."""
    pixels = [
        SIDE.read(value, child_path(path, key), reading) for key, value in (sides[side] for side in SIDES)
    ]
    if None in pixels:
        return None
    return SizeForm().read(Scalar(place, "x".join(f"{side}" for side in pixels)), path, reading)


def axis_definitions() -> dict[str, Any]:
    """Returns the JSON Schema definitions (`$defs`) of axes."""
    text = Text().schema()
    mapping = {
        "type": "object",
        "minProperties": 1,
        "properties": {
            name: {**key.kind.schema(), "description": key.about} for name, key in VALUE_KEYS.items()
        },
        "additionalProperties": {"anyOf": [text, {"type": "null"}, {"type": "array", "items": text}]},
    }
    return {
        "mappingValue": mapping,
        "fileAxis": mapping_schema(_FILE_KEYS, required=("file",)),
        "listAxis": mapping_schema(_LIST_KEYS, required=("list",)),
        "rangeAxis": mapping_schema(RANGE_KEYS, required=("from", "to")),
        "axis": _axis_schema({"anyOf": [text, {"$ref": "#/$defs/mappingValue"}]}),
    }


def _axis_schema(value: dict[str, Any]) -> dict[str, Any]:
    values = {"type": "array", "minItems": 1, "items": value}
    long_form = mapping_schema(_VALUES_KEYS, required=("values",))
    long_form["properties"]["values"] = values
    named = [{"$ref": f"#/$defs/{form}Axis"} for form in ("file", "list", "range")]
    return {"anyOf": [values, *named, long_form]}


def _field_axis_schema(name: str, key: Key) -> dict[str, Any]:
    """Returns the schema of an axis that sets a shot field, alone or in mappings."""
    several = {"allOf": [{"$ref": "#/$defs/mappingValue"}, {"required": [name]}]}
    return {
        **_axis_schema({"anyOf": [key.kind.schema(), several]}),
        "description": f"Sets `{name}`. {key.about}",
    }

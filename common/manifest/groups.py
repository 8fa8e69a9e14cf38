"""Parses `defaults` and the groups of `shots`."""

from __future__ import annotations

from collections.abc import Mapping

from common.document import tree
from common.document.syntax import odd_syntax
from common.document.tree import YamlNode, described, flow
from common.manifest import key_remedies
from common.manifest.axes import Axes
from common.manifest.key_remedies import belongs
from common.manifest.matrix import Entries, TypedAxes, Zip, check_zip, read_exclude, read_include
from common.manifest.model import Group, Output, ShotFields
from common.manifest.output_keys import OUTPUT_KEYS, SectionKey
from common.manifest.plain_values import Name
from common.manifest.presets import used_presets
from common.manifest.reading import MERGE, Key, Reading, read_keys
from common.manifest.shot_keys import SHOT_KEYS
from common.manifest.value_remedies import is_list_file, write
from common.wording import nearest

GROUP_KEYS = {
    "name": Key(Name(), "Name of the group, unique in the manifest; part of the default file names."),
    **SHOT_KEYS,
    "axes": Key(Axes(), "What varies: axis names and their values. Axes multiply unless `zip` pairs them."),
    "zip": Key(Zip(), "Axes that advance together instead of multiplying: `[[format, channel]]`."),
    "include": Key(
        Entries("include"), "Fields to add to combinations, or additional combinations, as in CI matrices."
    ),
    "exclude": Key(Entries("exclude"), "Combinations to leave out, by `axis` or `axis.field`."),
    "output": Key(
        SectionKey(Output, OUTPUT_KEYS),
        "File format and names of this group; overrides the manifest's `output`.",
    ),
}

_AT_THE_TOP = dict.fromkeys(
    ("version", "limits", "lane", "priority", "eco", "use", "wildcards", "random_seed"),
    "; it belongs at the top level of the manifest",
)
_IN_A_GROUP = dict.fromkeys(("axes", "zip", "include", "exclude"), "; it belongs in a group under `shots`")
_OF_DEFAULTS = belongs(_AT_THE_TOP | _IN_A_GROUP | {"output": _AT_THE_TOP["limits"]}, key_remedies.of_shots)
_OF_A_GROUP = belongs(_AT_THE_TOP, key_remedies.of_group)


def read_defaults(node: YamlNode, reading: Reading) -> ShotFields:
    return ShotFields(**read_keys(node, "defaults", SHOT_KEYS, reading, remedy=_OF_DEFAULTS))


def read_groups(
    node: YamlNode, defaults: ShotFields, presets: Mapping[str, ShotFields], reading: Reading
) -> tuple[Group, ...]:
    """Returns the valid groups, with default names where none is given."""
    if not isinstance(node, tree.Sequence):
        message = f"must be a list of groups, each starting with `- `, not {described(node)}"
        reading.wrong(node.place, "shots", message + write("", _as_list(node)))
        return ()
    if not node.items:
        reading.wrong(node.place, "shots", "has no groups, so there is nothing to render")
    names: dict[str, int] = {}
    groups = []
    for index, item in enumerate(node.items):
        group = _read_group(item, index, len(node.items), reading)
        if isinstance(item, tree.Mapping):
            _check_group(group, defaults, presets, item, f"shots[{index}]", reading)
        if group.name.lower() in names:
            message = (
                f"the name `{group.name}` is taken by `shots[{names[group.name.lower()]}]`; choose another"
            )
            reading.wrong(item.place, f"shots[{index}].name", message)
        names.setdefault(group.name.lower(), index)
        groups.append(group)
    return tuple(groups)


def _as_list(node: YamlNode) -> str | None:
    """Converts a mapping to a list of groups: a single group, groups by name, or the rows of a table."""
    if isinstance(node, tree.Scalar) and is_list_file(node.text):
        return f"[{{axes: {{row: {{file: {flow(node)}}}}}}}]"
    if not isinstance(node, tree.Mapping) or not node.entries:
        return None
    if node.entries.keys() == {"file"}:
        return f"[{{axes: {{row: {flow(node)}}}}}]"
    if node.entries.keys() & GROUP_KEYS.keys():
        return f"[{flow(node)}]"
    groups = [
        tree.Mapping(group.place, {"name": (place, tree.Scalar(place, name)), **group.entries})
        for name, place, group in node.items()
        if isinstance(group, tree.Mapping)
    ]
    return flow(tree.Sequence(node.place, list(groups))) if len(groups) == len(node.entries) else None


def _read_group(node: YamlNode, index: int, count: int, reading: Reading) -> Group:
    path = f"shots[{index}]"
    if isinstance(node, tree.Scalar) and node.text and odd_syntax(node.text) is None:
        hint = write("", f"{{prompt: {flow(node)}}}")
        reading.wrong(node.place, path, f"must be a mapping such as `prompt: …`, not {described(node)}{hint}")
        return Group(name=f"group{index + 1}")
    values = read_keys(node, path, GROUP_KEYS, reading, remedy=_OF_A_GROUP)
    name = values.get("name", "shots" if count == 1 else f"group{index + 1}")
    if not isinstance(node, tree.Mapping):
        return Group(name=name)
    values |= {"name": name, "include": (), "exclude": ()}
    typed = node.get("axes")
    if typed is None or isinstance(typed, tree.Mapping):
        axes = TypedAxes(values.get("axes", {}), tuple(typed.entries) if typed else ())
        check_zip(node.get("zip"), f"{path}.zip", values.get("zip", ()), axes, reading)
        include, include_sets = read_include(node.get("include"), f"{path}.include", axes, reading)
        exclude = read_exclude(node.get("exclude"), f"{path}.exclude", axes, reading)
        values |= {"include": include, "include_sets": include_sets, "exclude": exclude}
    return Group(**values)


def _check_group(
    group: Group,
    defaults: ShotFields,
    presets: Mapping[str, ShotFields],
    node: tree.Mapping,
    path: str,
    reading: Reading,
) -> None:
    """Reports missing and conflicting fields in the places that set the fields of a group."""
    places = [group, defaults, *group.include_sets]
    places += [fields for axis in group.axes.values() for fields in axis.sets]
    places += used_presets(defaults, (group,), presets).values()
    _check_lora_names(group, places, path, reading)
    for field in ("prompt", "model"):
        _check_set(field, group, places, node, path, reading)


def _check_lora_names(group: Group, places: list[ShotFields], path: str, reading: Reading) -> None:
    """Reports axes with the name of a LoRA in the group, because `{name.trigger}` would be ambiguous."""
    names = {lora.name for fields in places for lora in fields.loras}
    for axis in names & group.axes.keys():
        message = f"`{axis}` is a LoRA of this group, so `{{{axis}.trigger}}` already has a meaning"
        reading.wrong_at(f"{path}.axes.{axis}", message)


def _check_set(
    field: str, group: Group, places: list[ShotFields], node: tree.Mapping, path: str, reading: Reading
) -> None:
    """Reports a group whose shots lack a prompt or model, unless one is given but wrong or misspelled."""
    root = reading.text.root
    # A key in the wrong place is reported there.
    keys = (
        _names(node)
        | _names(root)
        | (_names(root.get("defaults")) if isinstance(root, tree.Mapping) else set())
    )
    given = (
        key_remedies.gives(field, keys)
        or any(key in (MERGE, field) or nearest(key, [field]) for key in keys)
        # A table, or an axis that could not be read, may set it.
        or "file" in node.entries
        or _names(node.get("axes")) - group.axes.keys()
    )
    if not given and not reading.is_partial and all(getattr(fields, field) is None for fields in places):
        reading.wrong(node.place, path, f"has no `{field}`; give it here or in `defaults`")


def _names(node: YamlNode | None) -> set[str]:
    return set(node.entries) if isinstance(node, tree.Mapping) else set()

"""Checks the references of a manifest against the axes of its groups, before expansion.

An invalid axis counts as known, so that references to it are not reported too. `coordinator.expand` checks
whether each value has the field, and each combination the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from common.document import tree
from common.document.tree import YamlNode
from common.manifest import prompt
from common.manifest.aliases import field_of
from common.manifest.combination_remedies import means_axes
from common.manifest.model import Group, ShotFields, Spelling
from common.manifest.presets import PROMPTS, is_around, with_presets
from common.manifest.prompt import COLUMN_INDEX, Reference
from common.manifest.reading import Reading
from common.wording import did_you_mean, listed, nearest, shortened, suggestion

TRIGGER = "trigger"
#: References in name patterns in addition to axes.
NAME_ONLY = ("seed", "index", "group", "export")
#: Fields that every value has.
_OF_ANY_VALUE = ("name", "index")


@dataclass(slots=True)
class Known:
    """The names that references of one group may use."""

    group: str
    #: Axis or `include` key to the fields of its values; None if they could not be read.
    fields: dict[str, set[str] | None] = field(default_factory=dict)
    #: For each name, an example of its plain texts.
    texts: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: Spelling) -> None:
        fields = self.fields.setdefault(name, set())
        if isinstance(value, str):
            self.texts.setdefault(name, value)
        elif fields is not None:
            fields.update(value)


@dataclass(frozen=True, slots=True)
class _Text:
    """A text with references."""

    path: str
    text: str
    #: Whether it is a name pattern, which may also contain the seed and similar references.
    is_name: bool = False
    #: `prompt` or `negative` if it encloses the text set before it.
    around: str = ""
    #: Whether no text was set before it.
    is_bare: bool = False
    #: The axis that replaces it in every shot.
    lost_to: str = ""
    #: The prompt that it replaces, if either of them belongs to a preset.
    instead_of: str = ""

    @property
    def is_of_preset(self) -> bool:
        return self.path.startswith("presets.")

    @property
    def is_lost(self) -> bool:
        """Whether no shot reads it."""
        return bool(self.lost_to) and not self.around

    def references(self) -> Iterator[Reference]:
        if "{" not in self.text or self.is_lost:
            return
        try:
            found = list(prompt.nodes(prompt.parse(self.text)))
        except prompt.PromptError:
            # The checks of wildcards and names report this.
            return
        yield from (node for node in found if isinstance(node, Reference))


def check_references(
    root: tree.Mapping, values: Mapping[str, object], groups: tuple[Group, ...], reading: Reading
) -> None:
    """Reports references in prompts and name patterns that are unknown in their group.

    `values` are the valid parts of the manifest.
    """
    shots = root.get("shots")
    written = shots.items if isinstance(shots, tree.Sequence) else []
    known = [_known(group, node) for group, node in zip(groups, written, strict=False)]
    anywhere = {name for each in known if each for name in each.fields}
    reported: set[tuple[str, int]] = set()
    for number, (group, each) in enumerate(zip(groups, known, strict=False)):
        for text in _texts(number, group, values) if each else ():
            _warn_of_presets(text, reading)
            if text.is_lost:
                reading.warn_at(text.path, _replaced_warning(text, group, f"shots[{number}]", reading))
            for node in text.references():
                if each is None:
                    continue
                _warn_of_index(node, text, each, reading)
                message = _problem(node, text, each, anywhere, reading)
                if message and (text.path, node.offset) not in reported:
                    reported.add((text.path, node.offset))
                    reading.wrong_at(text.path, message, node.offset)


def read_by(number: int, group: Group, values: Mapping[str, object]) -> set[tuple[str, str]]:
    """Returns axis and field of every reference of a group; an empty field is the value itself."""
    return {(node.name, node.field) for text in _texts(number, group, values) for node in text.references()}


def _known(group: Group, written: YamlNode) -> Known | None:
    """Returns the names known in a group; None if its axes cannot be determined."""
    if not isinstance(written, tree.Mapping):
        return None
    axes = written.get("axes")
    if not isinstance(axes, tree.Mapping | None):
        return None
    if axes is None and any(means_axes(key) for key in written.entries):
        return None
    known = Known(group.name)
    for name, axis in group.axes.items():
        for value in axis.values:
            known.add(name, value)
    broken = axes.entries.keys() - group.axes.keys() if axes else set()
    known.fields |= dict.fromkeys(broken)
    for entry in _mappings(written.get("include")):
        known.fields |= dict.fromkeys(key for key in entry.entries if key not in known.fields)
    for spelled in group.include:
        for name, value in spelled.items():
            if known.fields.get(name, ()) is None and name not in broken:
                known.fields[name] = set()
            known.add(name, value)
    return known


def _mappings(node: YamlNode | None) -> list[tree.Mapping]:
    items = node.items if isinstance(node, tree.Sequence) else []
    return [item for item in items if isinstance(item, tree.Mapping)]


def _texts(number: int, group: Group, values: Mapping[str, object]) -> Iterator[_Text]:
    """Yields the texts that the shots of a group may read."""
    for name in PROMPTS:
        yield from _prompts(number, group, name, values)
    output = values.get("output")
    if group.output is not None and group.output.name:
        yield _Text(f"shots[{number}].output.name", group.output.name, is_name=True)
    elif text := getattr(output, "name", None):
        yield _Text("output.name", text, is_name=True)


def _prompts(number: int, group: Group, name: str, values: Mapping[str, object]) -> Iterator[_Text]:
    """Yields the prompts (or negatives) that the shots of a group may have, including enclosed ones."""
    defaults, path = values.get("defaults"), f"shots[{number}]"
    presets = values.get("presets")
    known = presets if isinstance(presets, Mapping) else {}
    shared = (
        _texts_of_place("defaults", defaults, name, known)
        if isinstance(defaults, ShotFields)
        else _PlaceTexts()
    )
    own = _texts_of_place(path, group, name, known)
    base = _inside_out([*shared.first, *own.first, *shared.around, *own.around])
    later: list[_Text] = []
    for axis_name, axis in group.axes.items():
        chains = []
        for at, fields in enumerate(axis.sets):
            place = f"{path}.axes.{axis_name}[{at}]"
            texts = _texts_of_place(place, fields, name, known, is_field=isinstance(axis.values[at], str))
            chains.append(_inside_out([*texts.first, *texts.around], base or later))
        if chains and all(chain and not chain[0].around for chain in chains):
            # Every value replaces the text set before it. If presets do so, a separate warning reports this.
            by_presets = any(chain[0].is_of_preset for chain in chains)
            lost = (
                each for each in base if each.around or (each.path == f"{path}.{name}" and not by_presets)
            )
            yield from (replace(text, lost_to=axis_name) for text in lost)
            base = []
        later += [text for chain in chains for text in chain]
    for at, fields in enumerate(group.include_sets):
        texts = _texts_of_place(f"{path}.include[{at}]", fields, name, known)
        later += _inside_out([*texts.first, *texts.around], base or later)
    yield from [*base, *later]


@dataclass(frozen=True, slots=True)
class _PlaceTexts:
    """The texts that a place sets, and the texts of its presets that enclose them."""

    first: list[_Text] = field(default_factory=list)
    around: list[_Text] = field(default_factory=list)


def _texts_of_place(
    path: str, fields: ShotFields, name: str, presets: Mapping[str, ShotFields], *, is_field: bool = False
) -> _PlaceTexts:
    """Returns the texts of a place. `is_field` says that the place is the field itself."""
    texts = _PlaceTexts()
    for place, each in with_presets(path, fields, presets):
        if text := getattr(each, name):
            around = name if is_around(text, name) else ""
            where = place if is_field and place == path else f"{place}.{name}"
            into = texts.around if around and place != path else texts.first
            into.append(_Text(where, text, around=around))
    return texts


def _inside_out(texts: Iterable[_Text], before: Sequence[_Text] = ()) -> list[_Text]:
    """Returns the texts, in the order they apply, that no later one replaces.

    `before` are texts that apply before all of them.
    """
    found: list[_Text] = []
    for text in texts:
        inner = found or before
        if text.around:
            found.append(text if inner else replace(text, is_bare=True))
        else:
            replaced = inner[-1] if inner and (inner[-1].is_of_preset or text.is_of_preset) else None
            found = [replace(text, instead_of=replaced.path) if replaced else text]
    return found


def _problem(node: Reference, text: _Text, known: Known, anywhere: set[str], reading: Reading) -> str | None:
    """Returns what is wrong with a reference, or None."""
    is_name = text.is_name
    if text.around and node.name == text.around and not node.field:
        return _around_problem(node, text, reading)
    if node.name in known.fields:
        return _field_problem(node, known)
    if node.field == TRIGGER and not is_name:
        loras = reading.catalog.loras if reading.catalog else None
        if loras is None or node.name in loras:
            return None
        near = nearest(node.name, loras)
        hint = did_you_mean(node.name, near) if near else f"; {_give(node.name)}"
        return f"unknown reference {shortened(str(node))}{hint}"
    if not node.field and ((is_name and node.name in NAME_ONLY) or (not is_name and node.name == TRIGGER)):
        return None
    if node.name in NAME_ONLY and not node.field:
        return f"{node} is available only in `output.name`; leave it out"
    if node.name in anywhere:
        where = "its own `output` with a name" if is_name else "its own prompt"
        return f"group `{known.group}` has no {node}; give it that axis, or {where}"
    if node.name in reading.lists and not node.field:
        hint = f"; write `{node.name}: {{list: {node.name}}}` under `axes:`"
    else:
        hint = _suggested(node, is_name, known)
    return f"unknown reference {shortened(str(node))}{hint}"


def _warn_of_presets(text: _Text, reading: Reading) -> None:
    """Warns of a preset whose prompt replaces another, or is replaced by another."""
    if text.instead_of:
        preset, other = text.path, text.instead_of
        verb = "replaces"
        if not text.is_of_preset:
            preset, other, verb = other, preset, "is replaced by"
        name = "{prompt}" if preset.endswith(".prompt") else "{negative}"
        message = f"{verb} `{other}`; write `{name}` in the preset where that text should go"
        reading.warn_at(preset, message, kind=f"{preset} {verb}")


def _replaced_warning(text: _Text, group: Group, path: str, reading: Reading) -> str:
    """Returns a warning about a group's prompt that every value of an axis replaces."""
    name, (_, _, field) = text.lost_to, text.path.rpartition(".")
    value = group.axes[name].values[0]
    key = next((key for key in value if field_of(key) == field), "") if isinstance(value, dict) else ""
    message = f"no shot uses this {field}: every value of `{shortened(name)}` sets one"
    if not key:
        return f"{message}; remove one of them"
    quoted_key = key if key.isidentifier() else f'"{key}"'
    is_table = f"{path}.axes.{name}" in reading.contents
    keep = f"add `columns: {{{quoted_key}: null}}` next to `file`" if is_table else f"rename `{key}` there"
    return f"{message}; for this one {keep}"


def _warn_of_index(node: Reference, text: _Text, known: Known, reading: Reading) -> None:
    """Warns of `{row.index}` if the rows also have a column `index`."""
    if node.field == "index" and COLUMN_INDEX in (known.fields.get(node.name) or ()):
        message = f'{node} is the number of the value; its column `index` is {{{node.name}["index"]}}'
        reading.warn_at(text.path, message, node.offset)


def _around_problem(node: Reference, text: _Text, reading: Reading) -> str | None:
    """Returns what is wrong with `{prompt}` in a prompt, or None."""
    if text.lost_to == node.name:
        return (
            f"{node} inserts the {node.name} set before, but the axis `{node.name}` replaces this one; "
            "rename the axis, for example to `subject`, and write `{subject}`"
        )
    if text.lost_to:
        return f"every value of `{text.lost_to}` replaces this {node.name}; write {node} in those as well"
    if text.is_bare and not reading.is_partial:
        where = "in the group" if ".axes." in text.path or text.is_of_preset else "in `defaults`"
        return f"{node} inserts the {node.name} set before, but none is set; write one {where}"
    return None


def _field_problem(node: Reference, known: Known) -> str | None:
    """Returns what is wrong with `{axis.field}` if no value of the axis has the field, else None."""
    fields = known.fields[node.name]
    if not node.field or fields is None or node.field in fields or node.field in _OF_ANY_VALUE:
        return None
    if not fields:
        text = shortened(known.texts.get(node.name, ""))
        return f"{node}: `{text}` is plain text without fields; write `{{{node.name}}}`"
    hint = suggestion(node.field, fields)
    return f"{shortened(str(node))}: no value of `{node.name}` has a field `{shortened(node.field)}`{hint}"


def _suggested(node: Reference, is_name: bool, known: Known) -> str:
    names = [*known.fields, *(NAME_ONLY if is_name else (TRIGGER,))]
    near = nearest(node.name, names)
    if near is not None:
        return did_you_mean(node.name, near)
    owners = [name for name, fields in known.fields.items() if fields and node.name in fields]
    if owners and not node.field:
        return did_you_mean(node.name, f"{owners[0]}.{node.name}")
    if known.fields and len(names) <= 8:
        return f"; known {'are' if len(names) > 1 else 'is'} {listed(names)}"
    return f"; {_give(node.name)}"


def _give(name: str) -> str:
    if re.fullmatch(r"__.+__", name):
        return f"write `{shortened(name)}` without braces"
    return f"list its values under `axes:`, or write `\\{{{shortened(name)}\\}}` for the text"

"""Suggests how to write combinations of axes in the syntax of other programs: matrices, modes, filters."""

from __future__ import annotations

from common.document import tree
from common.document.tree import Scalar, YamlNode, flow
from common.manifest import value_remedies
from common.manifest.aliases import spelled
from common.wording import nearest

#: Keys for axes in CI matrices, parameter sweeps and other farms; a strategy contains a matrix.
_AXES = frozenset(("matrix", "grid", "sweep", "parameters", "params", "variables", "vars", "strategy"))
_IN_STEP = frozenset(
    ("zip", "zipped", "pair", "pairs", "paired", "pairwise", "parallel", "linked", "lockstep", "aligned")
)
_ALL = frozenset(
    ("product", "cross", "crossproduct", "cartesian", "all", "full", "multiply", "outer", "grid")
)
_LEFT_OUT = frozenset(("skip", "except", "ignore", "omit", "without", "drop", "excludes", "excluded"))
_ADDED = frozenset(("add", "additional", "extra", "includes", "included"))
_KEPT = frozenset(("only", "keep", "where", "filter", "when", "if", "match"))
_MULTIPLY = "; remove it, since axes multiply"


def means_axes(key: str) -> bool:
    """Returns whether a key of a group is another program's word for `axes`, or a misspelling of it."""
    return spelled(key) in _AXES or nearest(key, ["axes"]) is not None


def of_combination(key: str, mapping: tree.Mapping) -> str | None:
    """Suggests what to write for a key of a group; None if the key does not concern combinations."""
    value = mapping.get(key)
    if means_axes(key) and "axes" not in mapping.entries:
        return _as_axes(key, value)
    if isinstance(value, Scalar):
        return _of_word(key, value, mapping)
    names = _names(mapping)
    if isinstance(value, tree.Sequence) and (zipped := _zipped(value, names)):
        return _MULTIPLY if spelled(key) in _ALL else f"; write `zip: {zipped}`"
    entries = value.items if isinstance(value, tree.Sequence) else [value]
    keys = {each for entry in entries if isinstance(entry, tree.Mapping) for each in entry.entries}
    if not keys or not {each.partition(".")[0] for each in keys} <= set(names) or value is None:
        return None
    return _of_entries(key, tree.Sequence(value.place, [each for each in entries if each is not None]))


def as_axes(value: YamlNode | None) -> str | None:
    """Converts a mapping of names to values to axes; single values become lists."""
    if not isinstance(value, tree.Mapping):
        return None
    entries: dict[str, tuple[tree.Place, YamlNode]] = {
        name: (place, tree.Sequence(each.place, [each]) if isinstance(each, Scalar) else each)
        for name, place, each in value.items()
        if name not in ("include", "exclude")
    }
    line = f"axes: {flow(tree.Mapping(value.place, entries))}"
    return line if entries and len(line) <= value_remedies.LONGEST else None


def _as_axes(key: str, value: YamlNode | None) -> str:
    inner = value.get("matrix") if isinstance(value, tree.Mapping) else None
    line = as_axes(inner or value)
    if line is None or (isinstance(value, tree.Mapping) and line == f"axes: {flow(value)}"):
        return ": did you mean `axes`?"
    beside = [each for each in ("include", "exclude") if each in _keys(inner or value)]
    rest = f", and {' and '.join(f'`{each}`' for each in beside)} next to it" if beside else ""
    return f"; write `{line}`{rest}"


def _of_word(key: str, value: Scalar, mapping: tree.Mapping) -> str | None:
    """Handles `combine: zip`, `mode: product`, `zip_axes: true` and `where: a == x`."""
    names, words = _names(mapping), {spelled(key), spelled(value.text)}
    if spelled(value.text) in _IN_STEP and len(names) > 1:
        if "zip" in mapping.entries:
            return "; remove it, since `zip` already sets it"
        return f"; write `zip: [{', '.join(names)}]`"
    if spelled(value.text) in _ALL and len(names) > 0:
        return _MULTIPLY
    if value.text in ("random", "combinatorial") and spelled(key) in ("mode", "combine", "combinations"):
        return f"; write `variants: {value.text}`"
    return "; remove it, and list what to leave out under `exclude`" if words & _KEPT else None


def _of_entries(key: str, entries: tree.Sequence) -> str | None:
    word = spelled(key)
    if word in _KEPT:
        return "; remove it, and list what to leave out under `exclude`"
    ours = "exclude" if word in _LEFT_OUT else "include" if word in _ADDED else None
    return f"; write `{ours}: {flow(entries)}`" if ours else None


def _zipped(value: tree.Sequence, names: list[str]) -> str | None:
    """Converts a list of axes, or a list of such lists, to the form of `zip`."""
    groups = [each for each in value.items if isinstance(each, tree.Sequence)]
    parts = [each for group in groups or [value] for each in group.items]
    known = all(isinstance(each, Scalar) and each.text in names for each in parts)
    return flow(value) if len(parts) > 1 and known and len(groups) in (0, len(value.items)) else None


def _names(mapping: tree.Mapping) -> list[str]:
    return _keys(mapping.get("axes"))


def _keys(node: YamlNode | None) -> list[str]:
    return list(node.entries) if isinstance(node, tree.Mapping) else []

"""Converts a manifest to a single text without references to files, for `farm submit`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from common.document import tree
from common.document.tree import Scalar, YamlNode, child_path
from common.manifest.parse import ParsedManifest

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
#: Characters that YAML rejects, folds or skips in quotes.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def inlined(parsed: ParsedManifest) -> str:
    """Returns YAML with all files, wildcards and extended manifests replaced by their contents.

    Parsing it without files gives an equal manifest. Comments and anchors are lost.
    """
    root = _Inliner(parsed).mapping(parsed.text.root)
    return "".join(f"{line}\n" for line in _lines(root, ""))


class _Inliner:
    def __init__(self, parsed: ParsedManifest) -> None:
        self.parsed = parsed

    def mapping(self, root: YamlNode) -> tree.Mapping:
        """Returns the root with all used wildcards under `wildcards`."""
        inner = self._inlined(root, "")
        entries = dict(inner.entries) if isinstance(inner, tree.Mapping) else {}
        wildcards: dict[str, tuple[tree.Place, YamlNode]] = {
            name: (root.place, tree.Sequence(root.place, [Scalar(root.place, line, '"') for line in lines]))
            for name, lines in self.parsed.manifest.wildcards.items()
        }
        if wildcards:
            entries["wildcards"] = (root.place, tree.Mapping(root.place, wildcards))
        return tree.Mapping(root.place, entries)

    def _inlined(self, node: YamlNode, path: str) -> YamlNode:
        match node:
            case tree.Mapping() if path in self.parsed.contents:
                values = self.parsed.contents[path]
                kept: dict[str, tuple[tree.Place, YamlNode]] = {
                    key: node.entries[key] for key in ("expand", "columns") if key in node.entries
                }
                if not kept:
                    return values
                return tree.Mapping(node.place, {"values": (node.place, values), **kept})
            case tree.Mapping():
                entries = {
                    key: (place, self._inlined(value, child_path(path, key)))
                    for key, place, value in node.items()
                }
                return tree.Mapping(node.place, entries)
            case tree.Sequence():
                items = [self._inlined(item, child_path(path, i)) for i, item in enumerate(node.items)]
                return tree.Sequence(node.place, items)
        return node


def _lines(node: YamlNode, indent: str) -> Iterator[str]:
    match node:
        case tree.Mapping() if node.entries:
            for key, _, value in node.items():
                name = (
                    key
                    if _PLAIN_KEY.fullmatch(key) and Scalar(node.place, key).kind == "text"
                    else quoted(key)
                )
                yield from _entry(f"{indent}{name}:", value, f"{indent}  ")
        case tree.Sequence() if node.items:
            for item in node.items:
                yield from _entry(f"{indent}-", item, f"{indent}  ")
        case _:
            yield indent + _short(node)


def _entry(start: str, value: YamlNode, indent: str) -> Iterator[str]:
    if isinstance(value, Scalar) or not (value.items if isinstance(value, tree.Sequence) else value.entries):
        yield f"{start} {_short(value)}"
    else:
        yield start
        yield from _lines(value, indent)


def _short(node: YamlNode) -> str:
    match node:
        case tree.Mapping():
            return "{}"
        case tree.Sequence():
            return "[]"
    return quoted(node.text) if node.kind == "text" else node.text


def quoted(text: str) -> str:
    """Returns any text in the double quotes of YAML."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))

"""Output names: the manifest's pattern filled in, safe on every file system."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from itertools import chain

from common.manifest.model import Manifest
from common.manifest.prompt import PromptError, Reference, parse
from common.wording import suggestion
from coordinator.expand.combinations import Combination, Combinations
from coordinator.expand.dimensions import Value
from coordinator.expand.findings import Findings
from coordinator.expand.prompts import NAME_ONLY, described, missing_field

#: Unique by construction: `{index}` differs between any two shots.
DEFAULT = "{group}/{index}-{seed}"
PATH = "output.name"

#: UTF-8 bytes of one part of a path; leaves room for an extension within the 255 of most file systems.
MAX_BYTES = 200

#: Endings of file names, and the format that each stands for.
_FORMATS = {"png": "png", "webp": "webp", "jpeg": "jpeg", "jpg": "jpeg"}
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_RESERVED = re.compile(r"(?i:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?=$|\.)")
#: Parts of letters, digits and a few signs that need no second look.
_PLAIN = re.compile(
    r"(?!con\b|prn\b|aux\b|nul\b|com\d|lpt\d)\w(?:[\w .+,=-]{0,150}\w)?", re.ASCII | re.IGNORECASE
)
#: Stand for what differs between the shots of one combination; a sanitised text never holds NUL.
_SEED, _INDEX = "\0seed", "\0index"


class NamePattern:
    """`output.name`, read once."""

    def __init__(self, manifest: Manifest, findings: Findings) -> None:
        pattern = manifest.output.name
        self._findings = findings
        #: Names that at least one group has a value for.
        self._known = {name for group in manifest.shots for name in chain(group.axes, *group.include)}
        self._checked: set[tuple[Reference, Combinations]] = set()
        try:
            nodes = parse(self._without_ending(pattern, manifest.output.format) if pattern else DEFAULT)
        except PromptError as error:
            findings.wrong(PATH, error.message, error.offset)
            nodes = ()
        self._nodes = [node for node in nodes if isinstance(node, str | Reference)]
        if len(self._nodes) < len(nodes):
            findings.wrong(
                PATH, "variants and wildcards have no place in a name; refer to an axis, or to {index}"
            )

    def _without_ending(self, pattern: str, image_format: str) -> str:
        """The pattern without the ending that every file gets from its format."""
        stem, dot, ending = pattern.rpartition(".")
        written = _FORMATS.get(ending.lower()) if dot else None
        if written is not None and written != image_format:
            message = f"`.{ending}` is left out: the files are {image_format} by `output.format`"
            self._findings.warn(PATH, message)
        return pattern if written is None else stem

    def check(self, group: str, combination: Combination, among: Combinations) -> None:
        """Reports references that the shots of a combination have no value for."""
        for node in self._nodes:
            if isinstance(node, str):
                continue
            if node.name in combination.values:
                checked = (node, among) in self._checked
                self._checked.add((node, among))
                for value in () if checked else among.values_of(node.name):
                    if value.text(node.field) is None:
                        self._findings.wrong(PATH, missing_field(node, value), node.offset)
            elif node.field or node.name not in NAME_ONLY:
                self._unknown(node, group, combination, among)

    def _unknown(self, node: Reference, group: str, combination: Combination, among: Combinations) -> None:
        if any(True for _ in among.values_of(node.name)):
            message = f"{node} has no value where {described(combination)}"
        elif node.name in self._known:
            message = f"group `{group}` has no {node}"
        else:
            known = [*combination.values, *NAME_ONLY]
            message = f"unknown reference {node}{suggestion(node.name, known)}"
        self._findings.wrong(PATH, message, node.offset)

    def parts(self, group: str, values: Mapping[str, Value]) -> tuple[str, ...]:
        """The pattern with everything filled in that the shots of one combination share."""
        return tuple([self._part(node, group, values) for node in self._nodes])

    @staticmethod
    def _part(node: str | Reference, group: str, values: Mapping[str, Value]) -> str:
        if isinstance(node, str):
            return node
        if node.name in values:
            return safe(values[node.name].text(node.field) or "")
        return {"seed": _SEED, "index": _INDEX}.get(node.name) or safe(group)


def name(parts: tuple[str, ...], seed: int, index: str) -> str:
    """The name of one shot, from its pattern's parts."""
    own = {_SEED: str(seed), _INDEX: index}
    whole = "".join([own.get(part, part) for part in parts])
    return "/".join([clean(part) for part in whole.split("/") if part]) or "_"


@lru_cache(maxsize=65_536)
def safe(text: str) -> str:
    """A text without the characters that file systems refuse, `/` among them."""
    return _UNSAFE.sub("-", unicodedata.normalize("NFC", text))


def clean(part: str) -> str:
    """One part of a path as any file system takes it: never empty, `..`, reserved or too long."""
    if _PLAIN.fullmatch(part):
        return part
    part = "".join(char for char in safe(part) if unicodedata.category(char)[0] != "C").strip(" .")
    part = part.encode()[:MAX_BYTES].decode(errors="ignore").rstrip(" .")
    return f"_{part}" if not part or _RESERVED.match(part) else part

"""Output names: the filled-in name pattern, safe on every file system."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b

from common.exports import ANY_EXPORT
from common.manifest.model import Group, Manifest
from common.manifest.prompt import PromptError, Reference, parse
from common.manifest.references import NAME_ONLY
from coordinator.expand.combinations import Combination, Combinations
from coordinator.expand.dimensions import Value
from coordinator.expand.findings import Findings
from coordinator.expand.prompts import missing_field, without_value

#: Unique, because `{index}` differs between any two shots.
DEFAULT = "{group}/{index}-{seed}"
#: An axis that the default names too: images of other upscalers are compared, and look alike.
_COMPARED = "upscale"
PATH = "output.name"

#: Maximum UTF-8 bytes of a path component; leaves space for an extension within the usual limit of 255.
MAX_BYTES = 200
#: Bytes reserved for references that are never shortened.
_RESERVED_BYTES = {"seed": 20, "index": 20, "export": 63}
#: Minimum bytes reserved for each value.
_LEAST = 16

#: File extensions and their formats.
_FORMATS = {"png": "png", "webp": "webp", "jpeg": "jpeg", "jpg": "jpeg"}
_ENDING = re.compile(rf"(?<=.)\.({'|'.join(_FORMATS)})", re.IGNORECASE)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
#: Without `*`, which stands for the exports once values are filled in.
_UNSAFE_PART = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?]')
_RESERVED = re.compile(r"(?i:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?=$|\.)")
#: Path components that need no sanitising.
_PLAIN = re.compile(
    r"(?!con\b|prn\b|aux\b|nul\b|com\d|lpt\d)\w(?:[\w .+,=-]{0,150}\w)?", re.ASCII | re.IGNORECASE
)
#: Placeholders for what differs between files of a combination; sanitised text never contains NUL.
_SEED, _INDEX, _EXPORT = "\0seed", "\0index", "\0export"
_OWN = {"seed": _SEED, "index": _INDEX, "export": _EXPORT}


#: Placeholders of other programs: `[seed]`, `%seed%`, `$seed`, `<seed>` and `%04d`.
_FOREIGN = re.compile(r"\[(\w+)\]|%(\w+)%|\$(\w+)|<(\w+)>|%0?\d{0,2}d")
#: Number formats of other programs: `{seed:04d}`.
_FORMATTED = re.compile(r"\{(\w+)(?::[^{}|]*|![rsa])\}")
_OUTSIDE = re.compile(r"(?:/|~/|\.\.?/|[A-Za-z]:)")
_OTHER_ENDING = re.compile(r"(?<=.)\.(?:tiff?|gif|bmp|avif|heic|jxl|jpe)$", re.IGNORECASE)


def _pattern_message(pattern: str, error: PromptError) -> str:
    """The problem of a pattern that cannot be parsed, with a remedy if known."""
    if formatted := _FORMATTED.search(pattern):
        return f"`{formatted[0]}`: number formats are not supported; write `{{{formatted[1]}}}`"
    if "\\{" in pattern:
        return "a `\\` escapes the following brace; separate folders with `/`"
    return error.message


def _default(group: Group) -> str:
    """Rows of `include` may have no value for the axis."""
    is_compared = _COMPARED in group.axes and not group.include
    return f"{DEFAULT}-{{{_COMPARED}}}" if is_compared else DEFAULT


@dataclass(slots=True)
class _Part:
    """One path component of a pattern."""

    #: Bytes that are never shortened: the text of the pattern, and space for numbers.
    fixed: int = 0
    #: Indices of the nodes that are values.
    values: list[int] = field(default_factory=list)


class NamePattern:
    """The parsed name pattern of a group: its own, else that of the manifest."""

    def __init__(self, manifest: Manifest, number: int, findings: Findings) -> None:
        group = manifest.shots[number]
        output = manifest.output_of(group)
        #: Path in the manifest.
        self.path = f"shots[{number}].output.name" if group.output and group.output.name else PATH
        self._format = output.format
        self._findings = findings
        self._checked: set[tuple[Reference, Combinations]] = set()
        #: Without the file extension, which the format determines.
        self.pattern = self._without_ending(output.name) if output.name else _default(group)
        try:
            nodes = parse(self.pattern)
        except PromptError as error:
            findings.wrong(self.path, _pattern_message(self.pattern, error), error.offset)
            nodes = ()
        #: The files of each shot; empty for the image as it is rendered.
        self.exports = output.exports
        self.export_names = tuple(each.name for each in self.exports)
        self._nodes = [node for node in nodes if isinstance(node, str | Reference)]
        if len(self._nodes) < len(nodes):
            message = "variants and wildcards are not allowed in a name; refer to an axis, or to {index}"
            findings.wrong(self.path, message)
        self._check_text({*group.axes, *NAME_ONLY})
        self._end = self._appended()
        self._parts = self._path_parts(group.name)
        numbers = [str(node)[1:-1] for node in self._nodes] + ["export"] * bool(self._end)
        self._numbers = sum(_RESERVED_BYTES.get(number, 0) for number in numbers)

    def _appended(self) -> tuple[str, ...]:
        """What follows the pattern: the name of the export, unless the pattern places it.

        Reports `{export}` without exports.
        """
        places = [node for node in self._nodes if isinstance(node, Reference) and node.name == "export"]
        if places and not self.exports:
            message = "{export} is the name of an export; list some in `output.sizes`, or leave it out"
            self._findings.wrong(self.path, message, places[0].offset)
        return ("-", _EXPORT) if self.exports and not places else ()

    def _without_ending(self, pattern: str) -> str:
        stem, _, ending = pattern.rpartition(".")
        written = _FORMATS.get(ending.lower()) if stem else None
        if written is not None:
            self._check_ending(ending)
        return pattern if written is None else stem

    def _check_text(self, known: Set[str]) -> None:
        """Reports placeholders of other programs; warns of paths outside the folder of the job."""
        for node in self._nodes:
            for found in _FOREIGN.finditer(node) if isinstance(node, str) else ():
                name = next(filter(None, found.groups()), "index")
                if name in known:
                    message = f"`{found[0]}` is plain text in a name; write `{{{name}}}`"
                    self._findings.wrong(self.path, message)
        if _OUTSIDE.match(self.pattern):
            message = "names are relative to the folder of the job; begin with the name of a subfolder"
            self._findings.warn(self.path, message)
        if other := _OTHER_ENDING.search(self.pattern):
            message = f"`{other[0]}` remains part of the name: `output.format` is {self._format}"
            self._findings.warn(self.path, message)

    def _check_ending(self, ending: str) -> None:
        """Warns of a file extension that differs from the format."""
        if _FORMATS[ending.lower()] != self._format:
            message = f"`.{ending}` is removed: `output.format` is {self._format}"
            self._findings.warn(self.path, message)

    def _path_parts(self, group: str) -> list[_Part]:
        """The components between slashes; reports one whose text leaves no space for its values."""
        parts = [_Part()]
        for number, node in enumerate(self._nodes):
            if isinstance(node, str):
                first, *rest = [len(text.encode("utf-8", "replace")) for text in node.split("/")]
                parts[-1].fixed += first
                parts += [_Part(fixed) for fixed in rest]
            elif node.field or node.name not in NAME_ONLY:
                parts[-1].values.append(number)
            else:
                parts[-1].fixed += _RESERVED_BYTES.get(node.name, len(group))
        if self._end:
            parts[-1].fixed += 1 + _RESERVED_BYTES["export"]
        if any(part.fixed + _LEAST * len(part.values) > MAX_BYTES for part in parts):
            message = (
                f"leaves no space for its values within {MAX_BYTES} bytes; shorten the text between them"
            )
            self._findings.wrong(self.path, message)
        return parts

    @property
    def references(self) -> list[Reference]:
        return [node for node in self._nodes if isinstance(node, Reference)]

    def check(self, group: str, combination: Combination, among: Combinations) -> None:
        """Reports references without a value in a combination."""
        for node in self._nodes:
            if isinstance(node, str):
                continue
            if node.name in combination.values:
                if (node, among) not in self._checked:
                    self._checked.add((node, among))
                    self._check_values(node, among)
            elif node.field or node.name not in NAME_ONLY:
                self._findings.wrong(self.path, without_value(node, combination, among), node.offset)

    def _check_values(self, node: Reference, among: Combinations) -> None:
        for value in among.values_of(node.name):
            text = value.text(node.field)
            if text is None:
                self._findings.wrong(self.path, missing_field(node, value), node.offset)
            elif node is self._nodes[-1] and (ending := _ENDING.fullmatch(text, max(0, text.rfind(".")))):
                self._check_ending(ending[1])

    def parts(self, group: str, values: Mapping[str, Value]) -> tuple[str, ...]:
        """The pattern with all values filled in that the shots of a combination share.

        If a path component would exceed `MAX_BYTES`, its longest values are shortened and end in a hash of
        the complete value, so that names remain distinct.
        """
        texts = [self._part(node, group, values) for node in self._nodes]
        if len("".join(texts).encode("utf-8", "replace")) + self._numbers > MAX_BYTES:
            self._fit(texts)
        joined: list[str] = []
        for text in texts:
            if joined and text not in _OWN.values() and joined[-1] not in _OWN.values():
                joined[-1] += text
            else:
                joined.append(text)
        last = joined[-1] if joined else ""
        if _ENDING.fullmatch(last, max(0, last.rfind("."))):
            joined[-1] = last.rpartition(".")[0]
        return (*joined, *self._end)

    @staticmethod
    def _part(node: str | Reference, group: str, values: Mapping[str, Value]) -> str:
        if isinstance(node, str):
            return node.replace(ANY_EXPORT, "-")
        if node.name in values:
            return safe(values[node.name].text(node.field) or "")
        return _OWN.get(node.name) or safe(group)

    def _fit(self, texts: list[str]) -> None:
        """Shortens the longest values of every path component that is too long."""
        for part in self._parts:
            sizes = {number: len(texts[number].encode("utf-8", "replace")) for number in part.values}
            left = MAX_BYTES - part.fixed
            waiting = len(sizes)
            for number, size in sorted(sizes.items(), key=lambda item: item[1]):
                share = left // waiting
                if size > share:
                    texts[number] = _cut(texts[number], share)
                left -= min(size, share)
                waiting -= 1


@lru_cache(maxsize=65_536)
def _cut(text: str, most: int) -> str:
    """The beginning of a text and a hash of the whole text, in at most `room` UTF-8 bytes.

    Does not split letters from their accents, nor the parts of an emoji.
    """
    tail = f"~{blake2b(text.encode('utf-8', 'replace'), digest_size=4).hexdigest()}"
    whole = len(text.encode("utf-8", "replace")[: most - len(tail)].decode(errors="ignore"))
    end = whole
    while end and (_continues(text[end]) or text[end - 1] == "\u200d"):
        end -= 1
    return text[: end or whole].rstrip(" .") + tail


def _continues(char: str) -> bool:
    """Whether a character combines with the previous one: an accent, a joiner, a skin tone."""
    return unicodedata.category(char)[0] == "M" or char == "\u200d" or "\U0001f3fb" <= char <= "\U0001f3ff"


def name(parts: tuple[str, ...], seed: int, index: str) -> str:
    """The name of one shot, from the components of its pattern, with `*` for exports."""
    own = {_SEED: str(seed), _INDEX: index, _EXPORT: ANY_EXPORT}
    whole = "".join([own.get(part, part) for part in parts])
    return "/".join([clean(part) for part in whole.split("/") if part]) or "_"


@lru_cache(maxsize=65_536)
def safe(text: str) -> str:
    """A text without characters that file systems reject, including `/`."""
    return _UNSAFE.sub("-", unicodedata.normalize("NFC", text))


def clean(part: str) -> str:
    """A path component that is valid on every file system: never empty, `..`, reserved or too long."""
    if _PLAIN.fullmatch(part):
        return part
    part = _UNSAFE_PART.sub("-", unicodedata.normalize("NFC", part))
    part = "".join(char for char in part if unicodedata.category(char)[0] != "C").strip(" .")
    part = part.encode()[:MAX_BYTES].decode(errors="ignore").rstrip(" .")
    return f"_{part}" if not part or _RESERVED.match(part) else part

"""Which wildcards a `__mention__` means: by name, from the folder it stands in, by pattern, by a pack's keys.

A wildcard's name is its file's without `.txt` (`people/job`), or what the manifest calls it. One inside a
pack, a yaml or json file of lists by keys, is named by the file and its keys: `people.yaml/job/old`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from posixpath import normpath

from common.manifest.prompt import normal_name

#: Endings of files that hold lists by keys.
PACKS = (".yaml", ".yml", ".json")


class WildcardNames:
    """Names that can be mentioned. What a mention means does not depend on names that nothing mentions."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = sorted(names)

    def find(self, mention: str, within: str = "") -> tuple[str, ...]:
        """The wildcards whose lines `__mention__` stands for, sorted; none where it is unknown.

        `within` is the wildcard in whose lines it stands, which is meant itself only if nothing else is:
        folders are looked through from that wildcard's own up to the outermost. Upper and lower case count
        as equal where no name is the same and only one is alike. Several wildcards are meant by a pattern,
        and by the name of a pack or of a key that holds further keys.
        """
        mention, folders = _mentioned(mention), _folders(_path(within))
        if "*" in mention:
            return self._matching(mention, folders, within)
        return (
            self._named(mention, folders, within)
            or _first(self._in_packs, mention, folders, within)
            or _first(self._by_keys, mention, [""], within)
            or self._alike(mention, folders, within)
            or self._itself(mention, folders, within)
        )

    def find_file(self, mention: str, within: str = "") -> tuple[str, ...]:
        """The same as far as no pack but that of `within` needs to be known."""
        mention = _mentioned(mention)
        return () if "*" in mention else self._named(mention, _folders(_path(within)), within)

    def mentions(self) -> list[str]:
        """How prompts write the names."""
        return [_path(name) for name in self.names]

    def is_folder(self, mention: str) -> bool:
        """Whether wildcards lie below this name."""
        return any(_path(name).startswith(f"{_mentioned(mention)}/") for name in self.names)

    def _named(self, mention: str, folders: list[str], within: str) -> tuple[str, ...]:
        """What the mention names in the pack that it stands in, or among files."""
        pack = _pack(within)
        inside = [folder for folder in folders if pack and f"{folder}/".startswith(f"{pack}/")]
        return _first(self._in_packs, mention, inside, within) or _first(
            self._files, mention, folders, within
        )

    @staticmethod
    def _itself(mention: str, folders: list[str], within: str) -> tuple[str, ...]:
        spelled = any(_joined(folder, mention) == _path(within) for folder in folders)
        return (within,) if within and spelled else ()

    def _alike(self, mention: str, folders: list[str], within: str) -> tuple[str, ...]:
        """The only name that differs in upper and lower case."""
        for folder in folders:
            found = _others(self._folded.get(_folded(_joined(folder, mention)), ()), within)
            if len(found) == 1:
                return found
        return ()

    @cached_property
    def _files(self) -> dict[str, list[str]]:
        files = [name for name in self.names if not _pack(name)]
        return _indexed((spelled, name) for name in files for spelled in {name, _mentioned(name)})

    @cached_property
    def _in_packs(self) -> dict[str, list[str]]:
        """Names inside packs by their path and by those of the keys above, up to the file's."""
        return _indexed(
            (path, name)
            for name in self.names
            if (pack := _pack(name))
            for path in (_path(name), *_folders(_path(name)))
            if f"{path}/".startswith(f"{pack}/")
        )

    @cached_property
    def _by_keys(self) -> dict[str, list[str]]:
        """Names inside packs by their keys alone, as packs that people share name each other's lists."""
        return _indexed(
            (keys, name)
            for name in self.names
            if (pack := _pack(name))
            for keys in (_path(name)[len(pack) + 1 :], *_folders(_path(name)[len(pack) + 1 :]))
            if keys
        )

    @cached_property
    def _folded(self) -> dict[str, list[str]]:
        return _indexed((_folded(_path(name)), name) for name in self.names)

    def _matching(self, pattern: str, folders: list[str], within: str) -> tuple[str, ...]:
        """The names that fit a pattern, in the nearest folder where there are any."""
        spellings: tuple[Callable[[str], str], ...] = (str, _folded)
        for spelled in spellings:
            for folder in folders:
                parts = spelled(_joined(folder, pattern)).split("/")
                found = [name for name in self.names if _fits(spelled(_path(name)).split("/"), parts)]
                if others := _others(found, within):
                    return others
        parts = pattern.split("/")
        found = [
            name for keys, names in self._by_keys.items() if _fits(keys.split("/"), parts) for name in names
        ]
        return _others(found, within)


def _indexed(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, name in pairs:
        found.setdefault(key, []).append(name)
    return found


def _first(index: Mapping[str, list[str]], mention: str, folders: list[str], within: str) -> tuple[str, ...]:
    """What the mention names in the innermost folder where it names anything."""
    for folder in folders:
        if found := _others(index.get(_joined(folder, mention), ()), within):
            return found
    return ()


def _others(names: Iterable[str], within: str) -> tuple[str, ...]:
    return tuple(sorted({name for name in names if name != within}))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def _mentioned(mention: str) -> str:
    return "/".join(_without_ending(part) for part in normal_name(mention).split("/"))


def _without_ending(part: str) -> str:
    """A part of a path without the ending of a file."""
    for ending in (".txt", *PACKS):
        if part.lower().endswith(ending) and len(part) > len(ending):
            return part[: -len(ending)]
    return part


def _path(name: str) -> str:
    """A name as mentions spell it: the pack's without its ending."""
    file, _, keys = _split(name)
    return f"{file}/{keys}" if keys else file


def _pack(name: str) -> str:
    """Path of the pack that a name lies in; empty if it is in none."""
    file, ending, _ = _split(name)
    return file if ending else ""


def _split(name: str) -> tuple[str, str, str]:
    """File, ending and keys of a name; those that are in no pack have a file only."""
    lower = name.lower()
    found = [(lower.find(f"{ending}/"), ending) for ending in PACKS]
    inner = min((each for each in found if each[0] > 0), default=None)
    if inner is not None:
        at, ending = inner
        return name[:at], ending, name[at + len(ending) + 1 :]
    for ending in PACKS:
        if lower.endswith(ending):
            return name[: -len(ending)], ending, ""
    return name, "", ""


def _folders(path: str) -> list[str]:
    """The folders around a path, the innermost first; the outermost is empty."""
    folders = []
    while path:
        path = path.rpartition("/")[0]
        folders.append(path)
    return folders or [""]


def _joined(folder: str, mention: str) -> str:
    path = normpath(f"{folder}/{mention}" if folder else mention)
    return "" if path.startswith("..") else path.removeprefix("/")


def _fits(parts: list[str], pattern: list[str]) -> bool:
    """Whether a path fits a pattern in which `*` stands for any text and `**` for any folders."""
    # Of the pattern's beginnings, whether each fits the parts read so far.
    reached = [True] + [False] * len(pattern)
    for number, step in enumerate(pattern):
        reached[number + 1] = reached[number] and step == "**"
    for part in parts:
        fits = [False] * (len(pattern) + 1)
        for number, step in enumerate(pattern):
            if step == "**":
                fits[number + 1] = reached[number + 1] or fits[number]
            else:
                fits[number + 1] = reached[number] and _fits_part(part, step)
        for number, step in enumerate(pattern):
            if step == "**" and fits[number]:
                fits[number + 1] = True
        reached = fits
    return reached[-1]


def _fits_part(part: str, step: str) -> bool:
    if "*" not in step:
        return part == step
    first, *middle, last = step.split("*")
    if len(part) < len(first) + len(last) or not (part.startswith(first) and part.endswith(last)):
        return False
    at, end = len(first), len(part) - len(last)
    for text in middle:
        at = part.find(text, at, end)
        if at < 0:
            return False
        at += len(text)
    return True

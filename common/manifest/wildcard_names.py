"""Resolves `__name__` to wildcards: by name, by the folder that contains it, by pattern, by keys of a pack.

The name of a wildcard is that of its file without `.txt` (`people/job`), or the key in the manifest. A
wildcard inside a pack (a YAML or JSON file with lists by key) is named by the file and its keys:
`people.yaml/job/old`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from posixpath import normpath

from common.manifest.prompt import normal_name

#: Extensions of packs.
PACKS = (".yaml", ".yml", ".json")


class WildcardNames:
    """The names of all wildcards. Unused names never change what a reference resolves to."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = sorted(names)

    def find(self, mention: str, within: str = "") -> tuple[str, ...]:
        """Returns the wildcards that `__mention__` stands for, sorted; empty if it is unknown.

        `within` is the wildcard whose line contains the reference; it matches only if no other wildcard does.
        Folders are searched from that of `within` outwards. Case is ignored if no name matches exactly and
        only one matches without case. A pattern, the name of a pack, and a key with subkeys can stand for
        several wildcards.
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
        """As `find`, but without reading packs other than that of `within`."""
        mention = _mentioned(mention)
        return () if "*" in mention else self._named(mention, _folders(_path(within)), within)

    def mentions(self) -> list[str]:
        """Returns the names as written in prompts."""
        return [_path(name) for name in self.names]

    def is_folder(self, mention: str) -> bool:
        """Returns whether there are wildcards below this name."""
        return any(_path(name).startswith(f"{_mentioned(mention)}/") for name in self.names)

    def _named(self, mention: str, folders: list[str], within: str) -> tuple[str, ...]:
        """Returns the wildcards with this name in the enclosing pack, or else among files."""
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
        """Returns the only name that differs just in case."""
        for folder in folders:
            found = _others(self._folded.get(_folded(_joined(folder, mention)), ()), within)
            if len(found) == 1:
                return found
        return ()

    @cached_property
    def _files(self) -> dict[str, list[str]]:
        files = [name for name in self.names if not _pack(name)]
        return _indexed((spelled, name) for name in files for spelled in {name, _mentioned(name)})

    def _below_packs(self) -> Iterator[tuple[str, str, str]]:
        """The pack of each name inside one, with the path and all its parents up to the pack."""
        for name in self.names:
            if pack := _pack(name):
                for path in (_path(name), *_folders(_path(name))):
                    if f"{path}/".startswith(f"{pack}/"):
                        yield pack, path, name

    @cached_property
    def _in_packs(self) -> dict[str, list[str]]:
        """Names inside packs by their path and by all parent keys, up to the file."""
        return _indexed((path, name) for _, path, name in self._below_packs())

    @cached_property
    def _by_keys(self) -> dict[str, list[str]]:
        """Names inside packs by keys alone, because shared packs refer to each other's lists this way."""
        below = self._below_packs()
        return _indexed((path.removeprefix(f"{pack}/"), name) for pack, path, name in below if path != pack)

    @cached_property
    def _folded(self) -> dict[str, list[str]]:
        return _indexed((_folded(_path(name)), name) for name in self.names)

    def _matching(self, pattern: str, folders: list[str], within: str) -> tuple[str, ...]:
        """Returns the names that match a pattern, in the nearest folder that has any."""
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
    """Returns the wildcards with this name in the nearest folder that has any."""
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
    """Returns a part of a path without its file extension."""
    for ending in (".txt", *PACKS):
        if part.lower().endswith(ending) and len(part) > len(ending):
            return part[: -len(ending)]
    return part


def _path(name: str) -> str:
    """Returns a name as written in references: without the extension of the pack."""
    file, _, keys = _split(name)
    return f"{file}/{keys}" if keys else file


def _pack(name: str) -> str:
    """Returns the path of the pack that contains a name; empty if it is not in a pack."""
    file, ending, _ = _split(name)
    return file if ending else ""


def _split(name: str) -> tuple[str, str, str]:
    """Returns file, extension and keys of a name; names outside packs have only a file."""
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
    """Returns the parent folders of a path, innermost first; the last one is empty."""
    folders = []
    while path:
        path = path.rpartition("/")[0]
        folders.append(path)
    return folders or [""]


def _joined(folder: str, mention: str) -> str:
    path = normpath(f"{folder}/{mention}" if folder else mention)
    return "" if path.startswith("..") else path.removeprefix("/")


def _fits(parts: list[str], pattern: list[str]) -> bool:
    """Returns whether a path matches a pattern: `*` stands for any text, `**` for any folders."""
    # For each prefix of the pattern: whether it matches the parts read so far.
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

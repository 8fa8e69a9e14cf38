"""Reads files beside a manifest. Files outside its folder require a wider root."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath

from common.wording import nearest

MAX_BYTES = 8 * 1024 * 1024
#: Limit for folders with more files.
MAX_FILES = 50_000


class UnusableFileError(Exception):
    """The file cannot be used. The message states reason and remedy without the name of the file."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        #: Starts at 1, if the message is about one line of the file.
        self.line = line


class FileReader:
    """Reads files with names relative to `folder`, inside `root` (default: `folder`)."""

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        self.folder = folder.resolve()
        self.root = (root or folder).resolve()

    def beside(self, name: str) -> FileReader:
        """Returns a reader for files named relative to the folder of the file `name`, with the same root.

        Raises UnusableFileError if the file is outside the root.
        """
        return FileReader(self._path(name).parent, self.root)

    def exists(self, name: str) -> bool:
        try:
            return self._path(name).is_file()
        except (OSError, UnusableFileError):
            return False

    def read(self, name: str) -> str:
        """Returns the text of a file in UTF-8, or in UTF-16 with a byte order mark (from spreadsheets).

        Raises UnusableFileError as `read_bytes` does, and if the content is not such a text.
        """
        content = self.read_bytes(name)
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            try:
                return content.decode("utf-16")
            except UnicodeDecodeError:
                raise UnusableFileError("is invalid UTF-16 text; save it as UTF-8") from None
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = 1 + len(re.findall(rb"\r\n|\r|\n", content[: error.start]))
            raise UnusableFileError(
                "is not UTF-8 text; save it as UTF-8 (in spreadsheet programs: CSV UTF-8)", line
            ) from None

    def read_bytes(self, name: str) -> bytes:
        """Returns the content of a file.

        Raises UnusableFileError if it is missing, outside the root, not a regular file or too large.
        """
        path = self._path(name)
        try:
            if path.exists() and not path.is_file():
                raise UnusableFileError("is not a regular file")
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise UnusableFileError(f"does not exist{self._near(name)}") from None
        except OSError as error:
            raise UnusableFileError(f"cannot be read: {error.strerror}") from None
        if len(content) > MAX_BYTES:
            raise UnusableFileError(f"is larger than {MAX_BYTES // 1024**2} MiB")
        return content

    def _path(self, name: str) -> Path:
        try:
            path = (self.folder / name).resolve()
        except (ValueError, OSError, RuntimeError):
            raise UnusableFileError("is not a valid file name") from None
        if not path.is_relative_to(self.root):
            # Archives from untrusted sources may contain links, so only the user may widen the folder.
            is_link = Path(os.path.normpath(self.folder / name)).is_relative_to(self.root)
            where = "is a link that leads outside" if is_link else "is outside"
            wider = os.path.commonpath([self.root, path.parent])
            raise UnusableFileError(f"{where} the manifest's folder; pass `--root {wider}` to allow it")
        return path

    def names(self, folder: str) -> list[str]:
        """Returns the names of the files in a folder; empty if it does not exist."""
        try:
            return sorted(found.name for found in self._path(folder).iterdir() if found.is_file())
        except (OSError, UnusableFileError):
            return []

    def below(self, folder: str) -> list[str]:
        """Returns the sorted relative paths of all files below a folder, at most `MAX_FILES`.

        Follows links to folders, except links back to a parent folder.
        """
        top = self.folder / folder
        found: list[str] = []
        waiting = [(top, frozenset({os.path.realpath(top)}))]
        for parent, above in waiting:
            for entry in _entries(parent):
                if entry.is_file():
                    found.append(Path(entry.path).relative_to(top).as_posix())
                elif (real := os.path.realpath(entry.path)) not in above and len(waiting) < MAX_FILES:
                    waiting.append((Path(entry.path), above | {real}))
            if len(found) >= MAX_FILES:
                break
        return sorted(found[:MAX_FILES])

    def _near(self, name: str) -> str:
        if re.match(r"https?://", name):
            return "; save it in the folder of the manifest and write its file name"
        forward = name.replace("\\", "/")
        if forward != name and self.exists(forward):
            return f"; did you mean `{forward}`?"
        # Compares stems, because a common extension makes all short names similar.
        stems = {PurePath(found).stem: found for found in self.names(str(PurePath(name).parent))}
        near = name if (name := PurePath(name).stem) in stems else nearest(name, stems)
        return f"; did you mean `{stems[near]}`?" if near else ""


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Returns files and folders in a folder, sorted; empty if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted((each for each in entries if each.is_file() or each.is_dir()), key=lambda e: e.name)
    except OSError:
        return []

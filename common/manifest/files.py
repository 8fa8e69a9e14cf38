"""Files beside a manifest: read from its folder and never above it, unless a wider root is given."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath

from common.wording import nearest

MAX_BYTES = 8 * 1024 * 1024
#: Of a folder with more files, the first are known.
MAX_FILES = 50_000


class UnusableFileError(Exception):
    """The file cannot be used; the message says why and what to do, without naming the file again."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        #: 1-based, where the message is about one line of the file.
        self.line = line


class FileReader:
    """Reads files named relative to `folder`, below `root` (default: `folder`)."""

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        self.folder = folder.resolve()
        self.root = (root or folder).resolve()

    def beside(self, name: str) -> FileReader:
        """What reads the files that the file `name` refers to: from its folder, below the same root.

        Raises UnusableFileError.
        """
        return FileReader(self._path(name).parent, self.root)

    def exists(self, name: str) -> bool:
        try:
            return self._path(name).is_file()
        except (OSError, UnusableFileError):
            return False

    def read(self, name: str) -> str:
        """The text of a file: UTF-8, or UTF-16 with its mark, as spreadsheets write "Unicode text".

        Raises UnusableFileError as `read_bytes`, and where it is no such text.
        """
        content = self.read_bytes(name)
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            try:
                return content.decode("utf-16")
            except UnicodeDecodeError:
                raise UnusableFileError("is broken UTF-16 text; save it as UTF-8") from None
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = 1 + len(re.findall(rb"\r\n|\r|\n", content[: error.start]))
            raise UnusableFileError(
                "is not UTF-8 text; save it as UTF-8 (in spreadsheet programs: CSV UTF-8)", line
            ) from None

    def read_bytes(self, name: str) -> bytes:
        """The content of a file.

        Raises UnusableFileError where it is missing, outside the root, no plain file or too large.
        """
        path = self._path(name)
        try:
            if path.exists() and not path.is_file():
                raise UnusableFileError("is not a plain file")
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
            raise UnusableFileError("is no file name") from None
        if not path.is_relative_to(self.root):
            # A stranger's archive can hold links: only the person who plans may widen the folder.
            is_link = Path(os.path.normpath(self.folder / name)).is_relative_to(self.root)
            where = "leads by a link out of" if is_link else "lies above"
            wider = os.path.commonpath([self.root, path.parent])
            raise UnusableFileError(f"{where} the manifest's folder; `--root {wider}` allows a wider one")
        return path

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder; none where it does not exist."""
        try:
            return sorted(found.name for found in self._path(folder).iterdir() if found.is_file())
        except (OSError, UnusableFileError):
            return []

    def below(self, folder: str) -> list[str]:
        """Paths of all files below a folder, relative to it, sorted; `MAX_FILES` at most.

        Links to folders are followed, none back to a folder that leads to it.
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
            return "; save it beside the manifest and write its name"
        forward = name.replace("\\", "/")
        if forward != name and self.exists(forward):
            return f"; did you mean `{forward}`?"
        # By their stems: an equal ending makes any two short names look alike.
        stems = {PurePath(found).stem: found for found in self.names(str(PurePath(name).parent))}
        near = name if (name := PurePath(name).stem) in stems else nearest(name, stems)
        return f"; did you mean `{stems[near]}`?" if near else ""


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Files and folders in a folder, sorted; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted((each for each in entries if each.is_file() or each.is_dir()), key=lambda e: e.name)
    except OSError:
        return []

"""Files beside a manifest: read from its folder and never above it, unless a wider root is given."""

from __future__ import annotations

from pathlib import Path, PurePath

from common.wording import nearest

MAX_BYTES = 8 * 1024 * 1024


class UnusableFileError(Exception):
    """The file cannot be used; the message says why and what to do, without naming the file again."""


class FileReader:
    """Reads files named relative to `folder`, below `root` (default: `folder`)."""

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        self.folder = folder.resolve()
        self.root = (root or folder).resolve()

    def exists(self, name: str) -> bool:
        try:
            return self._path(name).is_file()
        except (OSError, UnusableFileError):
            return False

    def read(self, name: str) -> str:
        """The text of a file.

        Raises UnusableFileError where it is missing, outside the root, no plain file, too large or not UTF-8.
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
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise UnusableFileError(f"is not UTF-8 text (line {line}); save it as UTF-8") from None

    def _path(self, name: str) -> Path:
        try:
            path = (self.folder / name).resolve()
        except (ValueError, OSError, RuntimeError):
            raise UnusableFileError("is no file name") from None
        if not path.is_relative_to(self.root):
            raise UnusableFileError("lies above the manifest's folder; `--root FOLDER` allows a wider one")
        return path

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder; none where it does not exist."""
        try:
            return sorted(found.name for found in self._path(folder).iterdir() if found.is_file())
        except (OSError, UnusableFileError):
            return []

    def _near(self, name: str) -> str:
        # By their stems: an equal ending makes any two short names look alike.
        stems = {PurePath(found).stem: found for found in self.names(str(PurePath(name).parent))}
        near = nearest(PurePath(name).stem, stems)
        return f"; did you mean `{stems[near]}`?" if near else ""

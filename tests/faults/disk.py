"""A small disk that a test can fill."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of its own of `size` bytes, mounted at `folder`; needs root."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte; the file that takes them all."""
    file = disk / "filling"
    with file.open("wb", buffering=0) as filling, pytest.raises(OSError, match="No space left"):
        deque(map(filling.write, repeat(bytes(4096))), maxlen=0)
    return file

"""Writes small wheels for tests. Packed into one, it builds a project's editable install."""

from __future__ import annotations

import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed_version
from pathlib import Path


def write_wheel(
    folder: Path, name: str, version: str, modules: Mapping[str, str], needs: Sequence[str] = ()
) -> Path:
    """A pure Python wheel in `folder`; `modules` are file names to source."""
    stem = f"{name}-{version}"
    info = f"{stem}.dist-info"
    needed = "".join(f"Requires-Dist: {one}\n" for one in needs)
    texts = {
        **modules,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tiny\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in (*texts, f"{info}/RECORD"))
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, text in (texts | {f"{info}/RECORD": record}).items():
            archive.writestr(file, text)
    return wheel


def build_editable(wheel_directory: str, *_: object) -> str:
    """As PEP 660 has it. The wheel has this builder's version, which tells who built it."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    mine = installed_version("builder")
    return write_wheel(Path(wheel_directory), project["name"], mine, {}, project["dependencies"]).name

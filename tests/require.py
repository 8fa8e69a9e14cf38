"""Parts that a bare machine may lack: skipped with a reason there, required where FARM_REQUIRE_ALL=1."""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest


def _missing(what: str, remedy: str) -> NoReturn:
    if os.environ.get("FARM_REQUIRE_ALL") == "1":
        raise RuntimeError(f"{what} is required here and missing: {remedy}")
    pytest.skip(f"{what} is missing: {remedy}", allow_module_level=True)


def require_module(name: str, remedy: str) -> ModuleType:
    """The module, or a skip (a failure where everything is required)."""
    try:
        return importlib.import_module(name)
    except ImportError:
        _missing(name, remedy)


def require_program(name: str, remedy: str, *folders: str) -> Path:
    """The program's path, looked for on PATH and in `folders`; or a skip (a failure where required)."""
    found = shutil.which(name) or next(
        (p for p in (f"{f}/{name}" for f in folders) if os.access(p, os.X_OK)), None
    )
    if found is None:
        _missing(name, remedy)
    return Path(found)

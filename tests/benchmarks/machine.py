"""The machine that figures belong to."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "diffusers", "celery", "SQLAlchemy", "pydantic")


def describe_machine() -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "cores": len(usable_cores()) or os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        **{package.lower(): version(package) for package in _PACKAGES},
    }


def usable_cores() -> list[int]:
    """Cores that this process may run on; none where the system cannot pin."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _cpu() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()

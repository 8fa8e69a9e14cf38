"""How much of this machine's memory a process may take."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def host_memory_bytes(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> int:
    """The machine's memory, or less where a control group (version 2) allows less, as a container's does."""
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([installed, *_limits(cgroups, own)])


def _limits(cgroups: Path, own: Path) -> list[int]:
    """Bytes allowed to the group of this process and to each group around it."""
    if not own.exists():
        return []
    name = next((line[3:] for line in own.read_text().splitlines() if line.startswith("0::")), "/")
    group = cgroups / name.strip("/")
    files = [folder / "memory.max" for folder in (group, *group.parents)]
    given = [file.read_text().strip() for file in files if file.exists()]
    return [int(limit) for limit in given if limit != "max"]

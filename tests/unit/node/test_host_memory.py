"""Memory is what a container may take, not what its host has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.units import GIB
from gpu_node.probe import host_memory_bytes

INSTALLED = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """What `/proc/self/cgroup` says of a process in the group `pods/one`."""
    file = tmp_path / "own"
    file.write_text("1:name=systemd:/elsewhere\n0::/pods/one\n")
    (tmp_path / "pods" / "one").mkdir(parents=True)
    return file


@pytest.mark.parametrize("group", ["pods/one", "pods", "."])
def test_the_limit_of_the_own_group_or_of_one_around_it_holds(own: Path, group: str) -> None:
    (own.parent / "pods" / "one" / "memory.max").write_text("max\n")
    (own.parent / group / "memory.max").write_text(f"{GIB // 8}\n")

    assert host_memory_bytes(own.parent, own) == GIB // 8


def test_a_limit_above_what_is_installed_gives_nothing(own: Path) -> None:
    (own.parent / "pods" / "memory.max").write_text(str(2 * INSTALLED))

    assert host_memory_bytes(own.parent, own) == INSTALLED


def test_without_control_groups_it_is_all_that_is_installed(tmp_path: Path) -> None:
    assert host_memory_bytes(tmp_path, tmp_path / "none") == INSTALLED

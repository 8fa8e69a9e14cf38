"""What .ci/requirements pins: everything that is declared, in one version, by hash, naming no index."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.lock_files import ROOT, lines, pins

LOCKED = ("build.txt", "run.txt", "coordinator.txt", "node.txt", "dev.txt", "helm.txt", "lock.txt")
#: One requirement and any number of hashes; no option, no address, no index.
_LINE = re.compile(r"[a-z0-9.-]+==[^\s*]+( ; [^;#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*")
_DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())
_EXTRAS: dict[str, list[str]] = _DECLARED["project"]["optional-dependencies"]
_GROUPS: dict[str, list[str]] = _DECLARED["dependency-groups"]


def declared(extras: Sequence[str], groups: Sequence[str]) -> list[Requirement]:
    named = [*_DECLARED["project"]["dependencies"]] if extras else []
    named += [one for extra in extras for one in _EXTRAS[extra]] + [
        one for key in groups for one in _GROUPS[key]
    ]
    return [Requirement(one) for one in named]


@pytest.mark.parametrize("file", LOCKED)
def test_every_line_names_one_version_by_hash_and_nothing_else(file: str) -> None:
    assert [line for line in lines(file) if not _LINE.fullmatch(line)] == []


@pytest.mark.parametrize(
    ("file", "extras", "groups"),
    [
        ("run.txt", ("embedded", "node"), ("build",)),
        ("coordinator.txt", ("embedded", "credentials"), ("build",)),
        ("node.txt", ("node",), ()),
        ("dev.txt", tuple(_EXTRAS), ("build",)),
        ("build.txt", (), ("build",)),
        ("helm.txt", (), ("helm",)),
        ("lock.txt", (), ("lock",)),
    ],
)
def test_what_is_declared_is_pinned_at_an_allowed_version(
    file: str, extras: tuple[str, ...], groups: tuple[str, ...]
) -> None:
    pinned = {name: pin.version for name, pin in pins(file).items()} | {
        name: pin.version for name, pin in pins("torch.txt").items()
    }
    wanted = {canonicalize_name(one.name): one.specifier for one in declared(extras, groups)}
    missing = wanted.keys() - pinned
    assert not missing, "`make lock` pins them"
    assert [name for name, allowed in wanted.items() if not allowed.contains(pinned[name])] == []


def test_all_files_name_the_same_version() -> None:
    widest = pins("dev.txt")
    for file in LOCKED:
        both = {name: pin.version for name, pin in pins(file).items() if name in widest}
        assert both == {name: widest[name].version for name in both}


def test_only_torch_is_pinned_without_a_hash() -> None:
    assert list(pins("torch.txt")) == ["torch"]
    assert pins("torch.txt")["torch"].version
    assert not any("torch" in pins(file) for file in LOCKED)

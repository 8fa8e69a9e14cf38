"""The environment that tests run in is the one that is pinned."""

from __future__ import annotations

import sysconfig
from importlib.metadata import distributions

from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.lock_files import pins

#: What a CUDA build of torch brings, named by that build.
_OF_TORCH = ("nvidia-", "cuda-", "triton")


def test_whatever_is_installed_is_pinned_at_its_version_and_the_other_way_round() -> None:
    files = ("build.txt", "dev.txt", "helm.txt", "torch.txt")
    wanted = {name: pin.version for file in files for name, pin in pins(file).items() if pin.is_for_here}
    # Not the whole path of imports: setuptools adds its own copies of packages to that when it is used.
    there = distributions(path=[sysconfig.get_path("purelib")])
    found = {canonicalize_name(one.metadata["Name"]): Version(one.version).public for one in there}
    of_torch = {name for name in found if name.startswith(_OF_TORCH) and name not in wanted}
    installed = {name: version for name, version in found.items() if name not in {"shotfarm", *of_torch}}
    assert installed == wanted, "`make clean setup-dev` makes it anew; `make lock` pins what is new"

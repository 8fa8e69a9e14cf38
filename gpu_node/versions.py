"""What the pictures of a node, and the talk with it, depend on."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

_PACKAGES = ("shotfarm", "torch", "diffusers", "transformers", "peft", "safetensors", "pillow", "celery")


@cache
def installed_versions() -> dict[str, str]:
    """Package to version; the engine runs under the same interpreter as its node."""
    return {package: version(package) for package in _PACKAGES}

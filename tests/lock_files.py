"""What .ci/requirements pins, and what machines install that join a farm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".ci" / "requirements"
#: Instead of those of the first folder.
ELSEWHERE = {"node.txt": ROOT / "gpu_node" / "requirements" / "node.txt"}


@dataclass(frozen=True, slots=True)
class Pin:
    requirement: Requirement
    #: Of its files, such as `sha256:…`.
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        """Raises ValueError where more than one version would do."""
        (only,) = self.requirement.specifier
        if only.operator != "==" or "*" in only.version:
            raise ValueError(f"{self.requirement} pins no version")
        return only.version

    @property
    def is_for_here(self) -> bool:
        """Whether this Python on this system installs it."""
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def lines(file: str) -> list[str]:
    """Lines without comments, continued ones joined."""
    text = "\n".join(
        line for line in ELSEWHERE.get(file, FOLDER / file).read_text().splitlines() if "#" not in line
    )
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def pins(file: str) -> dict[str, Pin]:
    """By canonical name."""
    found = {}
    for line in lines(file):
        requirement, *hashes = line.split(" --hash=")
        pin = Pin(Requirement(requirement), tuple(one.strip() for one in hashes))
        found[pin.name] = pin
    return found

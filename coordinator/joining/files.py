"""The files at `/join`: anyone may read them, and they hold no secret."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Final, NamedTuple

from common.errors import NotFound
from common.invitations import curl_options, powershell_word
from common.settings import Settings
from coordinator.joining.address import FarmAddress, address_for_nodes
from coordinator.joining.package import node_package

#: Bytes that are sent at a time.
_PIECE: Final = 64 * 2**10


class JoinFile(NamedTuple):
    content: bytes
    media_type: str

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer that has it. Shared caches may keep it until the farm may have been upgraded."""
        return {
            "content-type": self.media_type,
            "content-length": str(len(self.content)),
            "cache-control": "public, max-age=300",
            "x-content-type-options": "nosniff",
        }

    @property
    def pieces(self) -> Iterator[bytes]:
        for begin in range(0, len(self.content), _PIECE):
            yield self.content[begin : begin + _PIECE]


@dataclass
class JoinFiles:
    settings: Settings

    def get(self, path: str) -> JoinFile:
        """What is at `/join`, `/join.ps1`, and under `/join/` the program of a node.

        Raises NotFound for others, and on a farm whose answers whoever is in between could change.
        """
        if not self.address.url.startswith("https://"):
            raise NotFound(
                "nodes reach this farm without TLS, so nobody should run a script that it sends: set "
                "`gateway`, or `public_url` with `https://`, in the settings of the farm"
            )
        if path == "/join":
            return JoinFile(self._script("join.sh", shlex.quote), "text/plain; charset=utf-8")
        if path == "/join.ps1":
            return JoinFile(self._script("join.ps1", powershell_word), "text/plain; charset=utf-8")
        package = node_package()
        if path == f"/join/{package.name}":
            return JoinFile(package.content, "application/zip")
        raise NotFound(f"{path}: this farm has the program {package.name}")

    @cached_property
    def address(self) -> FarmAddress:
        return address_for_nodes(self.settings)

    def _script(self, name: str, quoted: Callable[[str], str]) -> bytes:
        """A script with what it needs to know in the place of `@NAME@`, which `quoted` makes words of it."""
        here = files("coordinator.joining")
        package = node_package()
        megabytes = f"{len(package.content) / 1e6:.0f}"
        known = {
            "FARM": quoted(self.address.url),
            "CURL": " ".join(map(quoted, curl_options(self.address.pin))),
            "PACKAGE": quoted(package.name),
            "SHA256": quoted(package.sha256),
            # Both shells fill in its variables.
            "SUMMARY": (here / "summary.txt").read_text().replace("@MEGABYTES@", megabytes).rstrip("\n"),
        }
        text = (here / name).read_text()
        for word, value in known.items():
            text = text.replace(f"@{word}@", value)
        return text.encode()

"""The one folder an embedded farm keeps everything in; 0700, and nothing is written outside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.errors import Invalid
from common.keys import kept_key


class _Inside:
    """The path of this name inside a home."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, home: Home, _: object = None) -> Path:
        return home.root / self._name


@dataclass(frozen=True, slots=True)
class Home:
    root: Path

    logs = _Inside("logs")
    keys = _Inside("keys")
    valkey = _Inside("valkey")
    seaweed = _Inside("seaweed")
    #: The working folder of the gateway; empty.
    gateway = _Inside("gateway")
    #: The directory store that stands in where SeaweedFS has no build.
    pictures = _Inside("pictures")
    #: The settings in force, generated keys and addresses included.
    settings = _Inside("farm.yaml")
    ports = _Inside("ports.json")
    state = _Inside("state.json")
    #: Locked, and holding the process id, as long as a supervisor runs.
    lock = _Inside("supervisor.pid")

    @classmethod
    def at(cls, root: Path) -> Home:
        """The home at `root`, made where it does not exist. Raises Invalid where it cannot be."""
        home = cls(root.absolute())
        for folder in (home.root, home.logs, home.keys, home.valkey, home.seaweed, home.gateway):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise Invalid(
                    f"{folder}: cannot create this folder ({error.strerror}); set `home` in farm.yaml, "
                    "or FARM_HOME, to another folder"
                ) from None
        return home

    def key_file(self, name: str) -> Path:
        """A file with a secret in it, generated once."""
        file = self.keys / name
        kept_key(file)
        return file

    def key(self, name: str) -> str:
        """Raises Invalid where somebody spoilt its file."""
        return kept_key(self.keys / name)

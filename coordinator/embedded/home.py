"""The one folder an embedded farm keeps everything in; 0700, and nothing is written outside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.errors import Invalid
from common.keys import kept_key


@dataclass(frozen=True, slots=True)
class Home:
    root: Path

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

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def valkey(self) -> Path:
        return self.root / "valkey"

    @property
    def seaweed(self) -> Path:
        return self.root / "seaweed"

    @property
    def gateway(self) -> Path:
        """The working folder of the gateway; empty."""
        return self.root / "gateway"

    @property
    def pictures(self) -> Path:
        """The directory store that stands in where SeaweedFS has no build."""
        return self.root / "pictures"

    @property
    def settings(self) -> Path:
        """The settings in force, generated keys and addresses included."""
        return self.root / "farm.yaml"

    @property
    def ports(self) -> Path:
        return self.root / "ports.json"

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def lock(self) -> Path:
        """Locked, and holding the process id, as long as a supervisor runs."""
        return self.root / "supervisor.pid"

    def key_file(self, name: str) -> Path:
        """A file with a secret in it, generated once."""
        file = self.keys / name
        kept_key(file)
        return file

    def key(self, name: str) -> str:
        """Raises Invalid where somebody spoilt its file."""
        return kept_key(self.keys / name)

"""`python -m coordinator.ingest` beside a farm of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from common.settings import Settings
from tests.farm import RunningFarm


@contextmanager
def ingest_worker(farm: RunningFarm, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An ingest process with the farm's settings in the folder it starts in."""
    (folder / "farm.yaml").write_text(yaml.safe_dump(told(farm.settings)))
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen([sys.executable, "-m", "coordinator.ingest"], cwd=folder, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def told(settings: Settings) -> dict[str, Any]:
    """What an ingest worker needs to know, as a settings file says it."""
    storage = settings.storage.model_dump(mode="json")
    storage["secret_key"] = settings.storage.secret_key.get_secret_value()
    assert settings.keys.ingest is not None
    return {
        "broker_url": settings.broker_url,
        "public_url": settings.api_url,
        "storage": storage,
        "keys": {"ingest": settings.keys.ingest.get_secret_value()},
    }

"""What a manifest asks of a catalog: models and LoRAs that go together, and licences that allow the use."""

from __future__ import annotations

from common.catalog import Catalog
from common.manifest.model import Manifest
from common.manifest.reading import Reading


def check_catalog(manifest: Manifest, catalog: Catalog, reading: Reading) -> None:
    pass

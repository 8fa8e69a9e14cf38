"""The catalog: the models and LoRAs a farm knows, how each is held on a card, and what it may be used for."""

from common.catalog.build import build_catalog
from common.catalog.entries import CatalogEntries, ServedCatalog
from common.catalog.identity import file_identity, folder_identity, listing_identity
from common.catalog.load import load_catalog, read_entries, with_entry
from common.catalog.types import (
    BYTES_PER_PARAMETER,
    CPU,
    EIGHT_BITS,
    Activations,
    Catalog,
    Family,
    GgufFile,
    License,
    Lora,
    Model,
    Phase,
    PlacementWord,
    Recipe,
    Speed,
    SpeedBasis,
    TextualInversion,
    Upscaler,
    lora_parts,
    phase_of,
)

__all__ = [
    "BYTES_PER_PARAMETER",
    "CPU",
    "EIGHT_BITS",
    "Activations",
    "Catalog",
    "CatalogEntries",
    "Family",
    "GgufFile",
    "License",
    "Lora",
    "Model",
    "Phase",
    "PlacementWord",
    "Recipe",
    "ServedCatalog",
    "Speed",
    "SpeedBasis",
    "TextualInversion",
    "Upscaler",
    "build_catalog",
    "file_identity",
    "folder_identity",
    "listing_identity",
    "load_catalog",
    "lora_parts",
    "phase_of",
    "read_entries",
    "with_entry",
]

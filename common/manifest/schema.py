"""JSON Schema of manifests, for completion and validation in editors."""

from __future__ import annotations

from typing import Any

from common.manifest.axes import axis_definitions
from common.manifest.parse import MANIFEST_KEYS
from common.manifest.shot_values import mapping_schema


def manifest_schema() -> dict[str, Any]:
    """Returns a schema of Draft 2020-12. The parser also checks references, files and the catalog."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Shotfarm manifest, version 1",
        "description": "One manifest describes many images: groups of shots over axes, seeds and variants.",
        **mapping_schema(MANIFEST_KEYS, required=("version", "shots")),
        "$defs": axis_definitions(),
    }

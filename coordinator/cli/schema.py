"""`farm schema`: the manifest's JSON Schema, for editors."""

from __future__ import annotations

import json

import typer

from common.manifest.schema import manifest_schema


def schema_command() -> None:
    """Print the JSON Schema of manifests for completion and validation in editors.

    Example: `farm schema > manifest.schema.json`

    Then start the manifest with this line: `# yaml-language-server: $schema=manifest.schema.json`
    """
    typer.echo(json.dumps(manifest_schema(), indent=2))

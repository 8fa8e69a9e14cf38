"""`farm schema`: the manifest's JSON Schema, for editors."""

from __future__ import annotations

import json

import typer

from common.manifest.schema import manifest_schema


def schema_command() -> None:
    """Print the JSON Schema of manifests, so that editors complete and check them.

    Example: `farm schema > manifest.schema.json`

    The manifest's first line then names it: `# yaml-language-server: $schema=manifest.schema.json`
    """
    typer.echo(json.dumps(manifest_schema(), indent=2))

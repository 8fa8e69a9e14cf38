"""Reads a manifest for `farm plan`, `farm submit` and `farm run`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from common.catalog import Catalog, load_catalog
from common.errors import InvalidDocument, Problem
from common.manifest.files import FileReader
from common.manifest.parse import parse_manifest
from common.settings import Settings
from coordinator.models.entry_files import EntryFiles, inversion_misfit, upscaler_misfit
from coordinator.models.lora_files import LocalHeaders, LoraFiles
from coordinator.submission.plan import Draft
from coordinator.submission.tokens import Tokenizers


def read_manifest(
    manifest: str, settings: Settings, root: Path | None = None, catalog: Catalog | None = None
) -> Draft:
    """Reads a manifest from a file, or from standard input for `-`. Raises InvalidDocument.

    `catalog` is that of a running farm; by default it is read from the files that the settings name.
    """
    catalog = catalog or load_catalog(settings.catalog_files)
    headers = LocalHeaders(settings.model_folders)
    catalog = replace(
        catalog,
        judge=LoraFiles((headers,)).misfit,
        judge_inversion=EntryFiles(inversion_misfit, [headers.of_inversion], must_have=False).misfit,
        judge_upscaler=EntryFiles(upscaler_misfit, [headers.of_upscaler], must_have=False).misfit,
    )
    content, folder = _read(manifest)
    source = "standard input" if manifest == "-" else manifest
    parsed = parse_manifest(content, source=source, files=FileReader(folder, root), catalog=catalog)
    tokenizers = Tokenizers(catalog, settings.model_folders)
    return Draft(
        parsed=parsed,
        catalog=catalog,
        money=settings.money,
        tokenizers=tokenizers,
        lanes=settings.all_lanes,
    )


def _read(manifest: str) -> tuple[bytes, Path]:
    """Returns the content, and the folder that its paths are relative to."""
    if manifest == "-":
        return sys.stdin.buffer.read(), Path.cwd()
    path = Path(manifest)
    try:
        return path.read_bytes(), path.parent
    except OSError as error:
        raise InvalidDocument(manifest or "(empty)", [Problem(f"cannot be read: {error.strerror}")]) from None

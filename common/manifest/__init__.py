"""The manifest as a person writes it; `common.manifest.parse` reads it."""

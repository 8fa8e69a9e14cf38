"""The manifest: its types and its parser, `common.manifest.parse`."""

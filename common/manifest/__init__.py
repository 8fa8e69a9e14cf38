"""The manifest as a person writes it: `parse.parse_manifest` reads it, `schema` and `inline` write about it."""

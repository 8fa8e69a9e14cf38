"""Manifests made from files of other programs: a reader for each, and how what it found is put together."""

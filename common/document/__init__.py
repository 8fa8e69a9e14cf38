"""YAML and JSON documents, read as trees that keep positions and spelling, or as strict types."""

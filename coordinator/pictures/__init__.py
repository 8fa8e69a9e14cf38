"""Pictures: their final bytes, and the exports that are made from stored ones."""

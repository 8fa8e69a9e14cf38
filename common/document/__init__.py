"""YAML documents as people write them: a tree with places and spellings, or strict types made from it."""

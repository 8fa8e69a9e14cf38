"""Models that an operator adds: where they come from, what they are, and how they get into the catalog."""

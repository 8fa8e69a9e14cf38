"""Import: one reader per foreign file format, and the composition of a manifest from what it found."""

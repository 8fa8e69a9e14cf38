"""Faults on real processes, and what must hold after any of them."""

"""Explains the current state of a job, shot or node: pure functions from facts to sentences."""

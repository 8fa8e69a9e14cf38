"""The child process that holds one model and renders: the only part of a node that imports torch."""

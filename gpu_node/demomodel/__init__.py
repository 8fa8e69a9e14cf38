"""A tiny trained text-to-image model, so that a fresh checkout renders pictures that follow their prompts."""

"""The manifests that the benchmarks expand, plan, submit and render."""

from __future__ import annotations

from common.catalog import Catalog
from common.manifest.parse import parse_manifest
from coordinator.expand import Expansion, expand

MODEL = "shotfarm-demo"
#: Of `drawings`.
PROMPTS = 10

_SIDE = 10
_LARGE = """\
version: 1
name: bench-{shots}
shots:
- name: bench
  model: {model}
  prompt: "{prompt}"
  axes:
    colour: {colours}
    thing: {things}
    place: {places}
  exclude: {exclude}
  seeds: {seeds}
output: {{name: "{{colour}}/{{thing}}/{{place}}/{{seed}}"}}
limits: {{max_images: {shots}}}
"""
_DRAWINGS = """\
version: 1
name: bench-{first_seed}
shots:
- name: bench
  model: {model}
  prompt: "a {{colour}} {{subject}} on a white background"
  axes: {{colour: [red, blue], subject: [mug, lamp, car, shoe, tree]}}
  seeds: {{start: {first_seed}, count: {seeds}}}
  size: 128x128
  steps: {steps}
output: {{name: "{{colour}}-{{subject}}-{{seed}}"}}
"""


_RANGE = """\
version: 1
shots:
- name: bench
  model: {model}
  prompt: "drawing number {{number}}"
  axes: {{number: {{from: 1, to: {shots}}}}}
limits: {{max_images: {shots}}}
"""


def ranged(shots: int) -> str:
    """So many shots, a million at most, as the values of one axis."""
    return _RANGE.format(model=MODEL, shots=shots)


def large(
    shots: int, *, seeds: int, prompt: str = "a {colour} {thing} in a {place}", exclude: str = "[]"
) -> str:
    """So many shots, a multiple of 100 × `seeds`: colours × things × as many places as it takes.

    What `exclude` matches is left out of them.
    """
    return _LARGE.format(
        shots=shots,
        model=MODEL,
        prompt=prompt,
        colours=[f"colour {number}" for number in range(_SIDE)],
        things=[f"thing {number}" for number in range(_SIDE)],
        places=[f"place {number}" for number in range(shots // seeds // _SIDE**2)],
        seeds=seeds,
        exclude=exclude,
    )


def drawings(first_seed: int, seeds: int, *, steps: int = 9) -> str:
    """`PROMPTS` × `seeds` shots that a small model draws, by default in the steps that it is made for."""
    return _DRAWINGS.format(model=MODEL, first_seed=first_seed, seeds=seeds, steps=steps)


def expanded(text: str, catalog: Catalog) -> Expansion:
    return expand(parse_manifest(text, source="bench.yaml", files=None, catalog=catalog), catalog)

"""Families of metrics in the text format of Prometheus, from mappings of label values to numbers.

A scrape of many nodes is mostly labels, which rarely change, so their text is kept. prometheus-client, which
renders the counters of the process, builds the labels of every sample at every scrape.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

#: Enough for the series of 5,000 nodes; 300 bytes each.
_KEPT_LABELS = 50_000
_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def counter(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> str:
    return _family(f"{name}_total", "counter", text, labels, values)


def gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> str:
    """The family, with a sample for each value; keys are label values in order, or nested tuples of them.

    >>> print(gauge("farm_nodes", "Nodes.", ("lane", "vram_class"), {("public", 8): 2}), end="")
    # HELP farm_nodes Nodes.
    # TYPE farm_nodes gauge
    farm_nodes{lane="public",vram_class="8"} 2
    """
    return _family(name, "gauge", text, labels, values)


def _family(name: str, kind: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> str:
    head = f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    return head + "".join([f"{name}{_label_text(labels, key)} {value}\n" for key, value in values.items()])


@lru_cache(maxsize=_KEPT_LABELS)
def _label_text(labels: tuple[str, ...], key: object) -> str:
    if not labels:
        return ""
    values = zip(labels, _label_values(key), strict=True)
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in values) + "}"


def _label_values(key: object) -> list[str]:
    """Flattens a key such as `(WorkLabels(...), "stored")` or `("public", 8)` into label values, in order."""
    if isinstance(key, tuple):
        return [text for part in key for text in _label_values(part)]
    return [str(key)]

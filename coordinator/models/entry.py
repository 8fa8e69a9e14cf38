"""The catalog entry of what is added: its name, its licence, its parts and its identity."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any

from common.catalog import Catalog, Model, listing_identity
from common.errors import Invalid
from coordinator.models.addition import Prepared
from coordinator.models.fetch import Fetched

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,62}")
#: Relative difference of parameters up to which a component is the same as that of the built-in model.
_SAME_SIZE = 0.01
#: Licences as hubs and trainers write them, lower case, to their names in the catalog.
_LICENSES = {
    "creativeml open rail++-m": "openrail++-m",
    "openrail++": "openrail++-m",
    "creativeml open rail-m": "creativeml-openrail-m",
    "flux-non-commercial-license": "flux-non-commercial",
    "flux-1-dev-non-commercial-license": "flux-non-commercial",
    "apache 2.0": "apache-2.0",
}
_UNKNOWN = "unknown"


def new_name(asked: str | None, suggested: str, known: Container[str], replaceable: Container[str]) -> str:
    """The name of the entry. Raises Invalid if it is none, or that of another entry."""
    name = asked or slug(suggested)
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"`{name}` cannot be a name: use at most 63 letters, digits, dots, dashes and underscores"
        )
    if name in known and name not in replaceable:
        raise Invalid(f"the catalog already has `{name}`; choose another name with `--name`")
    return name


def known_license(said: str, catalog: Catalog) -> tuple[str, tuple[str, ...]]:
    """The licence that a source states, by its name in the catalog, and a remark if there is none."""
    found = _LICENSES.get(said.strip().lower(), said.strip().lower())
    if found in catalog.licenses:
        return found, ()
    why = f"its licence `{said}` is not in the catalog" if said else "its source states no licence"
    return _UNKNOWN, (f"{why}: manifests with `use: commercial` refuse it until you add it with `--license`",)


def model_entry(
    name: str, like: Model, license_: str, components: Mapping[str, int], gguf: Mapping[str, Any]
) -> dict[str, Any]:
    """`gguf` are quantised copies of these very weights: those of the model `like` are of others."""
    entry: dict[str, Any] = {"like": like.name, "path": name, "license": license_}
    if like.name != name:
        entry = {"like": like.name, "base": like.base, "path": name, "license": license_}
    differ = any(abs(components[part] - size) > _SAME_SIZE * size for part, size in like.components.items())
    if differ:
        entry["components"] = {part: float(f"{components[part] / 1e9:.4g}") for part in like.components}
    if gguf or "transformer" in like.components:
        entry["gguf"] = dict(gguf)
    return entry


def with_identity(prepared: Prepared, fetched: tuple[Fetched, ...]) -> dict[str, Any]:
    if prepared.gguf:
        identity = f"sha256:{fetched[0].sha256}"
        files = prepared.entry["gguf"]
        return prepared.entry | {
            "gguf": files | {prepared.gguf: files[prepared.gguf] | {"identity": identity}}
        }
    if prepared.section != "models":
        identity = f"sha256:{fetched[0].sha256}"
    else:
        identity = listing_identity({each.path: each.sha256 for each in fetched})
    start = {
        key: prepared.entry[key]
        for key in ("like", "base", "family", "architecture", "path")
        if key in prepared.entry
    }
    return start | {"identity": identity} | prepared.entry


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:63] or "model"

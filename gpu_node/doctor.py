"""The checks of `farm-node doctor`: software, machine, card, models, connections to the farm."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from common.errors import FarmError, Unavailable
from common.fit import Misfit, Seen, fit, plain_shot
from common.nodes import Card
from common.units import GIB, counted, format_gib, format_seconds
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.deliver import open_store_client
from gpu_node.library import Holding, Library
from gpu_node.measured import MeasuredRecipes
from gpu_node.probe import Kernels, Probe, host_memory_bytes, installed_versions
from gpu_node.system import cpu_threads

#: Free disk space that a node needs at least: images wait there for their upload.
_DISK_BYTES = GIB
_CONNECT_S = 5.0
#: Of a broker whose URL names none.
_REDIS_PORT = 6379


class Finding(NamedTuple):
    """One line of the report."""

    subject: str
    good: bool
    sentence: str


def examine(
    find_probe: Callable[[], Probe],
    library: Library,
    coordinator: Coordinator | None,
    *,
    home: Path,
    folders: Collection[Path] = (),
    expected: Collection[str] = (),
) -> Iterator[Finding]:
    """Findings in the order in which to fix them, each as soon as it is known.

    Without a card, everything else is examined. Each of `folders` must have models, and the files of
    `expected` models must be there.
    """
    yield Finding("software", True, ", ".join(f"{name} {v}" for name, v in installed_versions().items()))
    threads = cpu_threads()
    yield Finding("memory", True, f"{format_gib(host_memory_bytes())}, {counted(threads, 'CPU thread')}")
    yield _disk(home)
    card, known = None, None
    try:
        probe = find_probe()
        card = probe.card()
        known = MeasuredRecipes(home, card, probe.driver)
    except Unavailable as error:
        yield Finding("card", False, str(error))
    else:
        yield Finding("card", True, describe(card))
        yield _kernels(card, probe.kernels())
    yield from _folders(folders, library)
    yield from _models(library, card, known, expected)
    for holding in library.loras():
        yield _holding("LoRA", holding)
    yield from _farm(coordinator)


def describe(card: Card) -> str:
    capability = card.compute_capability
    parts = [
        f"{card.name}, {card.vram_bytes / GIB:.1f} GiB ({card.usable_bytes / GIB:.1f} usable)",
        f"class vram{card.vram_class:02d}",
        f"compute capability {capability[0]}.{capability[1]}" if capability else "renders on the CPU",
        f"{card.ram_bytes / GIB:.0f} GiB of host memory",
    ]
    return ", ".join(parts)


def _disk(home: Path) -> Finding:
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    usage = shutil.disk_usage(there)
    sentence = f"{format_gib(usage.free)} of {format_gib(usage.total)} are free for {home}"
    if usage.free >= _DISK_BYTES:
        return Finding("disk", True, sentence)
    return Finding("disk", False, f"{sentence}; free {format_gib(_DISK_BYTES)} or choose another --home")


def _kernels(card: Card, kernels: Kernels) -> Finding:
    built_for = f"torch {kernels.torch} is built for {', '.join(kernels.archs) or 'no GPU'}"
    if not kernels.problem:
        return Finding("torch", True, f"{built_for}; {kernels.check}")
    remedy = ""
    if card.compute_capability and card.compute_capability < (7, 5):
        remedy = "; this card needs torch 2.14 or older from PyTorch's CUDA 12.6 index (FARM_TORCH=cu126)"
    return Finding("torch", False, f"{built_for}; {kernels.problem}{remedy}")


def _folders(folders: Collection[Path], library: Library) -> Iterator[Finding]:
    """Each folder of models that has none: it is most likely the wrong one."""
    paths = _paths(library)
    wanted = [
        *map(Path, paths.values()),
        *(Path("loras") / one.path for one in library.catalog.loras.values()),
    ]
    # The shipped model is nobody's to put somewhere.
    example = next((path for name, path in paths.items() if library.model_folder(name) is None), "loras")
    for folder in folders:
        if not folder.is_dir():
            yield Finding("models", False, f"{folder} does not exist; pass another --models")
        elif (folder / "model_index.json").is_file():
            remedy = f"pass the folder that contains a path such as {example}"
            yield Finding("models", False, f"{folder} is the folder of one model; {remedy}")
        elif not any((folder / path).exists() for path in wanted):
            remedy = f"put a model where the catalog expects it, such as {folder / example}"
            yield Finding("models", False, f"{folder} contains no model or LoRA of the catalog; {remedy}")


def _models(
    library: Library, card: Card | None, known: MeasuredRecipes | None, expected: Collection[str]
) -> Iterator[Finding]:
    held = library.models(card)
    for holding in held:
        yield _holding("model", holding, "" if card is None else _fit(library, holding, card, known))
    here = {holding.name for holding in held}
    absent = {name: path for name, path in _paths(library).items() if name not in here}
    places = " and ".join(map(str, library.folders)) or "no folder (pass --models)"
    for name in [name for name in absent if name in expected]:
        yield Finding("model", False, f"{name} is not on this machine: {absent.pop(name)} is not in {places}")
    if absent:
        names = ", ".join(f"{name} ({path})" for name, path in absent.items())
        yield Finding("model", True, f"not on this machine, so not offered: {names}")


def _paths(library: Library) -> dict[str, str]:
    return {name: model.path for name, model in library.catalog.models.items()}


def _fit(library: Library, holding: Holding, card: Card, known: MeasuredRecipes | None) -> str:
    """How the card renders an image of the model's usual size, and what it measured of that."""
    model = library.catalog.models[holding.name]
    seconds = known.seconds(model) if known else {}
    found = fit(plain_shot(model), model, card, Seen(paces=seconds))
    if isinstance(found, Misfit):
        return f"; does not fit: {found.reason}"
    measured = [f"{format_seconds(image_s)} by {recipe}" for recipe, image_s in seconds.items()]
    took = f", measured {', '.join(measured)} an image" if measured else ""
    return f"; recipe {found.recipe.name}, predicted peak {format_gib(found.peak_bytes)}{took}"


def _holding(kind: str, holding: Holding, fit: str = "") -> Finding:
    if holding.problem:
        return Finding(kind, False, holding.problem)
    if holding.fetches:
        return Finding(kind, True, f"{holding.name}: arrives from the farm when there is work for it{fit}")
    how = "matches the catalog" if holding.verified else "not verified: the catalog has no identity for it"
    lacks = "".join(f"; {why}" for why in holding.missing_recipes.values())
    return Finding(kind, True, f"{holding.name} in {holding.path}: {how}{fit}{lacks}")


def _farm(coordinator: Coordinator | None) -> Iterator[Finding]:
    """The ports that a node connects to: three, or that of the gateway alone."""
    if coordinator is None:
        yield Finding("farm", True, "not checked; pass --farm URL to check API, broker and store")
        return
    try:
        coordinator.reachable()
        addresses = coordinator.addresses()
    except FarmError as error:
        yield Finding("farm", False, str(error))
        return
    yield Finding("farm", True, f"the API at {coordinator.url} answers")
    if addresses.broker:
        yield _port("broker", addresses.broker, lambda: _connect(addresses.broker))
    if addresses.store:
        yield _port("store", addresses.store, lambda: _ask(addresses.store))


def _port(name: str, address: str, reach: Callable[[], None]) -> Finding:
    try:
        reach()
    except (OSError, ValueError, httpx.HTTPError) as error:
        reason = (str(error) or type(error).__name__).rpartition("] ")[2]
        remedy = "open this port in the firewall, or ask the operator of the farm"
        return Finding("farm", False, f"the {name} at {address} does not answer ({reason}); {remedy}")
    return Finding("farm", True, f"the {name} at {address} answers")


def _connect(address: str) -> None:
    place = urlsplit(f"//{address}")
    socket.create_connection((place.hostname or "", place.port or _REDIS_PORT), _CONNECT_S).close()


def _ask(url: str) -> None:
    """Any answer will do: only signed URLs are allowed to do more."""
    with open_store_client() as store:
        store.get(url, timeout=_CONNECT_S)

"""Fetches what is added into the folder of models."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import Invalid
from common.model_files import CLASSIFIERS, EMBEDDINGS, UPSCALERS
from coordinator.models.addition import Added, AddedFile, Prepared
from coordinator.models.choice import Chosen
from coordinator.models.entry import with_identity
from coordinator.models.fetch import Fetched, Progress, fetch
from coordinator.models.lora_files import check_numbers
from coordinator.models.published import PUBLISHED
from coordinator.models.published import SOURCE as PUBLISHER
from coordinator.models.web import Web


@contextmanager
def alone(prepared: Prepared, models: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """No other command fetches what has this name in the block; `on_wait` is called if one does now."""
    models.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (models / f".{prepared.section}-{prepared.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def add(prepared: Prepared, models: Path, web: Web, progress: Progress) -> Added:
    """Fetch the files and move them to their place. Raises a FarmError with the remedy."""
    part = models / f".{prepared.section}-{prepared.name}.part"
    target = models / prepared.folder
    _take_over(prepared.chosen, target, part)
    fetched = fetch(prepared.chosen, part, web, progress)
    if prepared.section != "models":
        _check_numbers(prepared, part, fetched)
    if prepared.folder in ("loras", "gguf", EMBEDDINGS, UPSCALERS, CLASSIFIERS):
        target.mkdir(parents=True, exist_ok=True)
        for each in fetched:
            (part / each.path).replace(target / each.path)
        remove_tree(part)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_tree(part, keep={each.path for each in fetched})
        remove_tree(target)
        part.rename(target)
    return Added(
        section=prepared.section,
        name=prepared.name,
        entry=with_identity(prepared, fetched),
        files=tuple(
            AddedFile(path=each.path, sha256=each.sha256, size=each.size, place=target / each.path)
            for each in fetched
        ),
        remarks=(*prepared.remarks, _proof(fetched)),
    )


def _check_numbers(prepared: Prepared, folder: Path, fetched: Sequence[Fetched]) -> None:
    """Removes what was fetched if it cannot be used."""
    try:
        for each in fetched:
            check_numbers(prepared.section, prepared.name, folder / each.path)
    except Invalid:
        remove_tree(folder)
        raise


def _take_over(chosen: Sequence[Chosen], target: Path, part: Path) -> None:
    """Give files that an earlier call has placed a second name, where a published hash can prove them."""
    for each in chosen:
        there, here = target / each.path, part / each.path
        if each.file is None or each.file.sha256 is None or here.exists():
            continue
        if there.is_file() and there.stat().st_size == each.size:
            here.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # then it is fetched
                os.link(there, here)


def remove_tree(folder: Path, keep: set[str] | None = None) -> None:
    """Remove a folder with all files, or those that are not in `keep` (relative paths)."""
    if not folder.is_dir():
        return
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif keep is None or path.relative_to(folder).as_posix() not in keep:
            path.unlink()
    if keep is None:
        folder.rmdir()


def _proof(fetched: Sequence[Fetched]) -> str:
    """What the hashes were compared with."""
    weights = [each for each in fetched if each.path.endswith((".safetensors", ".gguf"))]
    for each in weights:
        if each.sha256 in PUBLISHED:
            return f"{each.path} is {PUBLISHED[each.sha256]}, by the SHA-256 that {PUBLISHER} publishes"
    if weights and all(each.is_published for each in weights):
        return "all weights have the SHA-256 that the hub publishes"
    return "no SHA-256 is published for these files: this fetch fixes what every node must have"

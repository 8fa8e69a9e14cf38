"""Model files fetched from a farm: continued, checked, shared, within a limit."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.catalog.identity import listing
from common.errors import Forbidden, NotFound, Unavailable
from common.messages import ModelFile
from gpu_node.agent import fetch
from gpu_node.agent.fetch import Fetcher
from gpu_node.cache import ModelCache
from gpu_node.errors import RenderError
from gpu_node.library import Need

NewCache = Callable[..., ModelCache]
FILES = {"model_index.json": b"{}", "vae/a.safetensors": bytes(range(50)), "vae/b.safetensors": b"w" * 7}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Farm:
    """A coordinator and a store, with files by their hash."""

    files: dict[str, bytes] = field(default_factory=dict)
    #: Ranges that were read, by hash.
    reads: list[tuple[str, str]] = field(default_factory=list)
    #: Answers instead of the right ones, each once.
    instead: list[httpx.Response] = field(default_factory=list)
    urls: int = 0

    def add(self, files: dict[str, bytes] = FILES, name: str = "tiny") -> Need:
        lines = listing({path: self.put(data) for path, data in files.items()})
        return Need(name, f"sha256:{self.put(lines.encode())}")

    def put(self, data: bytes) -> str:
        self.files[sha256(data)] = data
        return sha256(data)

    def model_file(self, digest: str) -> ModelFile:
        if digest not in self.files:
            raise NotFound(f"the store has no model file {digest}")
        self.urls += 1
        return ModelFile(url=f"http://store/{digest}?{self.urls}", size=len(self.files[digest]))

    def read(self, request: httpx.Request) -> httpx.Response:
        digest, wanted = request.url.path[1:], request.headers["Range"]
        self.reads.append((digest, wanted))
        if self.instead:
            return self.instead.pop(0)
        start, stop = map(int, wanted.removeprefix("bytes=").split("-"))
        return httpx.Response(206, content=self.files[digest][start : stop + 1])


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_PART", 10)
    monkeypatch.setattr(fetch, "pauses", lambda: iter(lambda: 0.001, None))
    monkeypatch.setattr("gpu_node.cache._SPARE", 0)


@pytest.fixture
def farm() -> Farm:
    return Farm()


@pytest.fixture
def new_cache(tmp_path: Path) -> Iterator[NewCache]:
    """The cache of a node of the machine, with so many bytes at the most."""
    with ExitStack() as caches:
        yield lambda limit=10_000: caches.enter_context(closing(ModelCache(tmp_path / "cache", limit)))


@pytest.fixture
def cache(new_cache: NewCache) -> ModelCache:
    return new_cache()


def fetched(
    farm: Farm,
    cache: ModelCache,
    need: Need,
    *,
    check: Callable[[], None] = lambda: None,
    on_bytes: Callable[[int], None] = lambda _: None,
    known: Path | None = None,
) -> Path:
    """`known` is a folder of the node's owner."""

    def known_file(digest: str, size: int) -> Path | None:
        files = known.iterdir() if known else ()
        return next((file for file in files if sha256(file.read_bytes()) == digest), None)

    coordinator: Any = farm
    with httpx.Client(transport=httpx.MockTransport(farm.read)) as store:
        fetcher = Fetcher(
            coordinator,
            store,
            cache,
            known_file=known_file,
            check=check,
            on_bytes=on_bytes,
            stall_s=0.2,
        )
        return fetcher.fetch(need)


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_model_arrives_whole_and_is_found(farm: Farm, cache: ModelCache) -> None:
    need = farm.add()
    arrived: list[int] = []
    folder = fetched(farm, cache, need, on_bytes=arrived.append)
    assert content(folder) == FILES
    assert cache.find(need.identity) == folder
    assert sum(arrived) == sum(map(len, farm.files.values()))


def test_a_single_file_is_found_by_its_name(farm: Farm, cache: ModelCache) -> None:
    need = Need("style", f"sha256:{farm.put(b'lora' * 20)}", "style.safetensors")
    assert content(fetched(farm, cache, need)) == {"style.safetensors": b"lora" * 20}


@pytest.mark.parametrize("same_disk", [True, False])
def test_a_file_that_the_machine_has_under_another_name_is_not_fetched(
    farm: Farm, new_cache: NewCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_disk: bool
) -> None:
    own = tmp_path / "ComfyUI"
    own.mkdir()
    (own / "flux-vae.safetensors").write_bytes(FILES["vae/a.safetensors"])
    need, arrived, cache = farm.add(), list[int](), new_cache(500)
    if not same_disk:
        monkeypatch.setattr(ModelCache, "link", lambda *_: False)
    folder = fetched(farm, cache, need, known=own, on_bytes=arrived.append)

    assert content(folder) == FILES
    assert sum(arrived) == sum(map(len, farm.files.values()))
    assert sha256(FILES["vae/a.safetensors"]) not in {digest for digest, _ in farm.reads}
    assert (own / "flux-vae.safetensors").samefile(folder / "vae/a.safetensors") is same_disk

    # Its owner keeps it when the cache makes room.
    fetched(farm, cache, Need("large", f"sha256:{farm.put(bytes(400))}", "large.safetensors"))
    assert cache.find(need.identity) is None
    assert [file.stat().st_size for file in (tmp_path / "cache" / "blobs").iterdir()] == [400]
    assert (own / "flux-vae.safetensors").read_bytes() == FILES["vae/a.safetensors"]


def test_a_fetch_that_was_ended_goes_on_where_it_was(farm: Farm, cache: ModelCache) -> None:
    need = Need("style", f"sha256:{farm.put(bytes(range(100)))}", "style.safetensors")

    def stop(more: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetched(farm, cache, need, on_bytes=stop)
    farm.reads.clear()
    assert content(fetched(farm, cache, need)) == {"style.safetensors": bytes(range(100))}
    assert min(int(wanted[6:].split("-")[0]) for _, wanted in farm.reads) == 10


def test_wrong_bytes_are_fetched_again(farm: Farm, cache: ModelCache) -> None:
    need = farm.add()
    farm.instead.append(httpx.Response(206, content=b"x" * 10))
    assert content(fetched(farm, cache, need)) == FILES


def test_bytes_that_stay_wrong_are_not_kept(farm: Farm, cache: ModelCache, tmp_path: Path) -> None:
    need = Need("style", f"sha256:{farm.put(b'right')}", "style.safetensors")
    farm.files[need.identity[7:]] = b"wrong"
    with pytest.raises(RenderError, match="style: the store has other bytes") as error:
        fetched(farm, cache, need)
    assert error.value.kind == "model_mismatch"
    assert len(farm.reads) == 2
    assert cache.find(need.identity) is None
    assert list((tmp_path / "cache" / "blobs").iterdir()) == []


def test_a_file_that_the_farm_lacks_is_named(farm: Farm, cache: ModelCache) -> None:
    need = farm.add()
    del farm.files[sha256(FILES["vae/a.safetensors"])]
    with pytest.raises(RenderError, match="tiny: the store has no model file") as error:
        fetched(farm, cache, need)
    assert error.value.kind == "model_missing"


def test_a_listing_that_leads_out_of_its_folder_is_refused(farm: Farm, cache: ModelCache) -> None:
    with pytest.raises(RenderError, match="its listing is wrong") as error:
        fetched(farm, cache, farm.add({"../../evil": b"x"}))
    assert error.value.kind == "model_mismatch"


def test_a_url_that_ended_is_renewed(farm: Farm, cache: ModelCache) -> None:
    need = Need("style", f"sha256:{farm.put(b'lora')}", "style.safetensors")
    farm.instead.append(httpx.Response(403))
    fetched(farm, cache, need)
    assert farm.urls == 2


def test_a_store_that_stays_away_ends_the_fetch(farm: Farm, cache: ModelCache) -> None:
    need = farm.add()
    farm.instead = [httpx.Response(503)] * 10_000
    with pytest.raises(RenderError, match="model files do not arrive") as error:
        fetched(farm, cache, need)
    assert error.value.kind == "store_unavailable"


def test_a_farm_that_is_away_for_a_while_is_asked_again(
    farm: Farm, cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    need, known, away = farm.add(), farm.model_file, iter([True, True, False])

    def model_file(digest: str) -> ModelFile:
        if next(away, False):
            raise Unavailable("the farm does not answer")
        return known(digest)

    monkeypatch.setattr(farm, "model_file", model_file)
    assert content(fetched(farm, cache, need)) == FILES


def test_a_cache_that_cannot_be_written_is_named(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    with pytest.raises(RenderError, match=f"tiny: {tmp_path}/cache.* cannot be written: ") as error:
        fetched(farm, ModelCache(tmp_path / "cache", 10_000), farm.add())
    assert error.value.kind == "disk_full"


def test_a_refusal_of_the_farm_is_told(
    farm: Farm, cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(digest: str) -> ModelFile:
        raise Forbidden("the key does not allow this")

    monkeypatch.setattr(farm, "model_file", refuse)
    with pytest.raises(RenderError, match="tiny: the key does not allow this") as error:
        fetched(farm, cache, farm.add())
    assert error.value.kind == "store_unavailable"


def test_a_fetch_ends_with_its_batch(farm: Farm, cache: ModelCache) -> None:
    def check() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetched(farm, cache, farm.add(), check=check)


def test_nodes_of_a_machine_that_need_the_same_fetch_it_once(farm: Farm, new_cache: NewCache) -> None:
    need = farm.add()
    caches = [new_cache() for _ in range(3)]
    threads = [threading.Thread(target=fetched, args=(farm, cache, need)) for cache in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(cache.find(need.identity) for cache in caches)
    assert len(farm.reads) == len(set(farm.reads))


def test_models_that_share_a_file_store_it_once(farm: Farm, cache: ModelCache) -> None:
    fetched(farm, cache, farm.add())
    farm.reads.clear()
    folder = fetched(farm, cache, farm.add({**FILES, "model_index.json": b"[]"}))
    assert content(folder)["vae/a.safetensors"] == FILES["vae/a.safetensors"]
    assert sha256(FILES["vae/a.safetensors"]) not in {digest for digest, _ in farm.reads}


def lora(farm: Farm, number: int) -> Need:
    data = bytes([number]) * 40
    return Need(f"style-{number}", f"sha256:{farm.put(data)}", "style.safetensors")


def test_what_was_not_used_for_longest_makes_room(farm: Farm, new_cache: NewCache) -> None:
    cache = new_cache(100)
    first, second, third = (lora(farm, number) for number in range(3))
    for need in (first, second):
        cache.pin([need.identity])
        fetched(farm, cache, need)
    cache.pin([first.identity])
    cache.keep_only([])
    fetched(farm, cache, third)
    assert [cache.find(need.identity) is not None for need in (first, second, third)] == [True, False, True]


def test_what_a_node_of_the_machine_uses_stays(farm: Farm, new_cache: NewCache) -> None:
    cache, other = new_cache(100), new_cache(100)
    first, second, third = (lora(farm, number) for number in range(3))
    for need in (first, second):
        fetched(farm, cache, need)
    other.pin([first.identity, second.identity])
    with pytest.raises(RenderError, match="raise --model-disk") as error:
        fetched(farm, cache, third)
    assert error.value.kind == "disk_full"
    other.keep_only([second.identity])
    fetched(farm, cache, third)
    assert [cache.find(need.identity) is not None for need in (first, second, third)] == [False, True, True]

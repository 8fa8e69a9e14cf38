"""What every store promises of its objects: created once, never overwritten, found again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.errors import Invalid, NotFound
from common.storage import Store
from tests.contract.storage.uploads import PNG


def test_what_was_created_is_read_back_with_its_type_and_metadata(store: Store, key: str) -> None:
    data = bytes(range(256)) * 100
    assert store.create(key, data, content_type=PNG, metadata={"attempt": "a1", "sha256": "ff"})
    assert store.read(key, limit=len(data)) == data
    stored = store.head(key)
    assert stored is not None
    assert (stored.key, stored.size, stored.content_type) == (key, len(data), PNG)
    assert stored.metadata == {"attempt": "a1", "sha256": "ff"}


def test_a_second_create_says_no_and_changes_nothing(store: Store, key: str) -> None:
    assert store.create(key, b"first", content_type=PNG, metadata={"attempt": "1"})
    assert not store.create(key, b"second", content_type=PNG, metadata={"attempt": "2"})
    assert store.read(key, limit=100) == b"first"
    stored = store.head(key)
    assert stored is not None
    assert stored.metadata == {"attempt": "1"}


def test_of_many_writers_at_once_exactly_one_wins_and_its_object_stays(store: Store) -> None:
    with ThreadPoolExecutor(12) as pool:
        for race in range(2):
            gate = threading.Barrier(12)

            def write(writer: int, gate: threading.Barrier = gate, key: str = f"races/{race}") -> bool:
                gate.wait(timeout=10)
                data = str(writer).encode()
                return store.create(key, data, content_type=PNG, metadata={"attempt": str(writer)})

            won = [writer for writer, first in enumerate(pool.map(write, range(12))) if first]
            assert len(won) == 1
            stored = store.head(f"races/{race}")
            assert stored is not None
            assert stored.metadata == {"attempt": str(won[0])}
            assert store.read(f"races/{race}", limit=10) == str(won[0]).encode()


def test_nothing_is_found_where_nothing_was_stored(store: Store, key: str) -> None:
    assert store.head(key) is None
    with pytest.raises(NotFound, match=key):
        store.read(key, limit=10)


def test_more_bytes_than_the_limit_are_not_read(store: Store, key: str) -> None:
    store.create(key, b"12345", content_type=PNG, metadata={})
    with pytest.raises(Invalid, match="more than the 4"):
        store.read(key, limit=4)
    assert store.read(key, limit=5) == b"12345"


def test_a_range_is_read_up_to_the_end_of_the_object(store: Store, key: str) -> None:
    store.create(key, b"0123456789", content_type=PNG, metadata={"attempt": "1"})
    assert store.read_range(key, 0, 4) == b"0123"
    assert store.read_range(key, 8, 40) == b"89"
    assert store.read_range(key, 10, 1) == b""
    with pytest.raises(NotFound, match="none"):
        store.read_range("none", 0, 1)


def test_a_deleted_object_is_gone_and_deleting_again_is_no_error(store: Store, key: str) -> None:
    store.create(key, b"x", content_type=PNG, metadata={})
    store.delete(key)
    store.delete(key)
    assert store.head(key) is None
    assert store.create(key, b"y", content_type=PNG, metadata={})


def test_keys_are_listed_by_the_time_of_their_storage(store: Store) -> None:
    store.create("aged/a", b"x", content_type=PNG, metadata={})
    now = time.time()
    # A store tells whole seconds, by its own clock.
    assert store.keys("aged/", stored_before=now - 60) == []
    assert store.keys("aged/", stored_before=now + 60) == ["aged/a"]
    assert store.keys("nowhere/", stored_before=now) == []


def test_keys_are_listed_in_order_by_prefix(store: Store) -> None:
    for name in ("b/2", "a/1", "b/10", "bc/3"):
        store.create(f"list/{name}", b"", content_type=PNG, metadata={})
    assert store.keys("list/") == ["list/a/1", "list/b/10", "list/b/2", "list/bc/3"]
    assert store.keys("list/b") == ["list/b/10", "list/b/2", "list/bc/3"]
    assert store.keys("nowhere/") == []


def test_the_probe_passes_and_leaves_nothing_behind(store: Store) -> None:
    store.probe()
    assert store.keys("probe/") == []

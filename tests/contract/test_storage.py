"""What every store promises, on a real SeaweedFS and on a folder behind a real HTTP server."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from itertools import count
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from PIL import Image

from common.errors import Conflict, FarmError, Invalid, Misconfigured, NotFound, Unavailable
from common.storage import SignedPut, Store
from common.storage.directory import DirectoryStore
from common.storage.s3 import S3Store
from common.storage.signing import UrlSigner
from tests.servers import S3Server

PNG = "image/png"
_fresh = count()


def s3_store(server: S3Server, bucket: str, *, secret_key: str = "", public_endpoint: str = "") -> S3Store:
    return S3Store(
        bucket,
        endpoint=server.endpoint,
        public_endpoint=public_endpoint,
        access_key=server.access_key,
        secret_key=secret_key or server.secret_key,
    )


@pytest.fixture(scope="module")
def s3(s3_server: S3Server) -> S3Store:
    store = s3_store(s3_server, "stored-pictures")
    store.probe()
    return store


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DirectoryStore]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Objects) as server:
        signer = UrlSigner("secret", f"http://127.0.0.1:{server.server_port}")
        _Objects.store = DirectoryStore(tmp_path_factory.mktemp("pictures"), signer)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield _Objects.store
        server.shutdown()
        thread.join()


@pytest.fixture(params=["s3", "directory"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def key() -> str:
    return f"images/{next(_fresh):02d}/picture.png"


class _Objects(BaseHTTPRequestHandler):
    """The coordinator's `/v1/objects`, without the coordinator."""

    store: DirectoryStore

    def do_PUT(self) -> None:
        key, query = self._asked()
        data = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            self.store.receive(key, query, content_type=self.headers["Content-Type"], data=data)
        except FarmError as error:
            self._answer(error.status, str(error).encode())
        else:
            self._answer(201, b"")

    def do_GET(self) -> None:
        try:
            self._answer(200, self.store.serve(*self._asked())[0])
        except FarmError as error:
            self._answer(error.status, str(error).encode())

    def _asked(self) -> tuple[str, dict[str, str]]:
        url = urlsplit(self.path)
        return url.path.removeprefix("/v1/objects/"), dict(parse_qsl(url.query, keep_blank_values=True))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@dataclass
class Upload:
    """A signed PUT of `data`, and what is actually sent."""

    store: Store
    key: str
    data: bytes = b"a picture"
    expires_s: int = 60
    headers: dict[str, str] = field(default_factory=dict)

    def signed(self) -> SignedPut:
        return self.store.sign_put(
            self.key,
            size=len(self.data),
            sha256=hashlib.sha256(self.data).hexdigest(),
            content_type=PNG,
            expires_s=self.expires_s,
        )

    def send(self, data: bytes | None = None) -> int:
        """The HTTP status."""
        put = self.signed()
        body = self.data if data is None else data
        return httpx.put(put.url, content=body, headers=put.headers | self.headers).status_code


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


def test_a_deleted_object_is_gone_and_deleting_again_is_no_error(store: Store, key: str) -> None:
    store.create(key, b"x", content_type=PNG, metadata={})
    store.delete(key)
    store.delete(key)
    assert store.head(key) is None
    assert store.create(key, b"y", content_type=PNG, metadata={})


def test_keys_are_listed_in_order_by_prefix(store: Store) -> None:
    for name in ("b/2", "a/1", "b/10", "bc/3"):
        store.create(f"list/{name}", b"", content_type=PNG, metadata={})
    assert store.keys("list/") == ["list/a/1", "list/b/10", "list/b/2", "list/bc/3"]
    assert store.keys("list/b") == ["list/b/10", "list/b/2", "list/bc/3"]
    assert store.keys("nowhere/") == []


def test_a_signed_put_stores_the_very_bytes_it_was_signed_for(store: Store, key: str) -> None:
    upload = Upload(store, key)
    assert upload.send() in (200, 201)
    stored = store.head(key)
    assert stored is not None
    assert stored.content_type == PNG
    assert store.read(key, limit=100) == upload.data


@pytest.mark.parametrize(
    "data", [b"a pictur", b"a picture and more", b""], ids=["shorter", "longer", "empty"]
)
def test_a_signed_put_of_another_length_is_refused(store: Store, key: str, data: bytes) -> None:
    assert 400 <= Upload(store, key).send(data) < 500
    assert store.head(key) is None


def test_a_signed_put_of_other_bytes_is_refused(store: Store, key: str) -> None:
    assert 400 <= Upload(store, key).send(b"a pictorE") < 500
    assert store.head(key) is None


def test_a_signed_put_of_another_type_is_refused(store: Store, key: str) -> None:
    assert Upload(store, key, headers={"Content-Type": "text/html"}).send() == 403
    assert store.head(key) is None


def test_a_second_signed_put_is_refused_and_the_first_stays(store: Store, key: str) -> None:
    Upload(store, key).send()
    assert Upload(store, key, data=b"another").send() in (409, 412)
    assert Upload(store, key).send() in (409, 412)
    assert store.read(key, limit=100) == b"a picture"


def test_a_signed_put_ends_with_its_time(store: Store, key: str) -> None:
    store.create("seen/until-it-expires", b"", content_type=PNG, metadata={})
    late = Upload(store, key, expires_s=1)
    put = late.signed()
    watch = store.sign_get("seen/until-it-expires", expires_s=2)
    deadline, pause = time.monotonic() + 20, threading.Event()
    while httpx.get(watch).status_code == 200:
        assert time.monotonic() < deadline
        pause.wait(0.1)
    assert httpx.put(put.url, content=late.data, headers=put.headers).status_code == 403
    assert store.head(key) is None


def test_a_signed_url_is_good_for_its_own_key_only(store: Store, key: str) -> None:
    upload = Upload(store, key)
    put = upload.signed()
    other = put.url.replace("picture.png", "other.png")
    assert httpx.put(other, content=upload.data, headers=put.headers).status_code == 403
    assert store.head(key.replace("picture", "other")) is None


def test_a_signed_get_reads_until_it_expires(store: Store, key: str) -> None:
    store.create(key, b"hello", content_type=PNG, metadata={})
    assert httpx.get(store.sign_get(key, expires_s=60)).content == b"hello"
    assert httpx.get(store.sign_get(key, expires_s=60).replace("picture", "other")).status_code == 403


def test_the_probe_passes_and_leaves_nothing_behind(store: Store) -> None:
    store.probe()
    assert store.keys("probe/") == []


def test_the_probe_makes_a_missing_bucket(s3_server: S3Server) -> None:
    store = s3_store(s3_server, "a-new-bucket")
    store.probe()
    assert store.create("first", b"1", content_type=PNG, metadata={})


def test_a_wrong_secret_is_called_a_wrong_setting(s3_server: S3Server) -> None:
    with pytest.raises(Misconfigured, match="storage settings"):
        s3_store(s3_server, "stored-pictures", secret_key="wrong").create(
            "x", b"", content_type=PNG, metadata={}
        )


def test_a_store_that_is_away_is_unavailable() -> None:
    store = S3Store("pictures", endpoint="http://127.0.0.1:9", access_key="a", secret_key="b")
    with pytest.raises(Unavailable, match="does not answer"):
        store.head("x")


def test_signed_urls_carry_the_public_endpoint(s3_server: S3Server) -> None:
    store = s3_store(s3_server, "stored-pictures", public_endpoint="http://farm.example:8333")
    assert store.sign_get("x", expires_s=60).startswith("http://farm.example:8333/stored-pictures/x?")


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/x", "a//b", ".drafts/x", "a\\b", ""])
def test_no_key_leads_out_of_the_folder(directory: DirectoryStore, key: str) -> None:
    with pytest.raises(Invalid, match="is no key"):
        directory.create(key, b"", content_type=PNG, metadata={})


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = DirectoryStore(tmp_path / "file", UrlSigner("secret", "http://farm.example"))
    with pytest.raises(Unavailable, match="does not work"):
        store.probe()


def test_a_file_of_the_folder_is_a_picture_that_readers_open(directory: DirectoryStore, key: str) -> None:
    made = BytesIO()
    Image.new("RGB", (8, 8), "red").save(made, "PNG")
    directory.create(key, made.getvalue(), content_type=PNG, metadata={"attempt": "1"})
    with Image.open(directory.root / key) as image:
        assert image.getpixel((0, 0)) == (255, 0, 0)


def test_a_second_put_through_the_folder_is_a_conflict(directory: DirectoryStore, key: str) -> None:
    upload = Upload(directory, key)
    upload.send()
    query = dict(parse_qsl(urlsplit(upload.signed().url).query))
    with pytest.raises(Conflict, match="stored there already"):
        directory.receive(key, query, content_type=PNG, data=upload.data)


def test_deleting_leaves_no_empty_folder(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path, UrlSigner("secret", "http://farm"))
    for key in ("quarantine/b-1/shot-1/a", "quarantine/b-1/shot-2/a"):
        store.create(key, b"", content_type="image/png", metadata={})
    store.delete("quarantine/b-1/shot-1/a")
    assert [path.name for path in (tmp_path / "quarantine/b-1").iterdir()] == ["shot-2"]
    store.delete("quarantine/b-1/shot-2/a")
    assert not (tmp_path / "quarantine").exists()


def test_the_probe_clears_what_a_killed_writer_left_long_ago(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path, UrlSigner("secret", "http://farm"))
    store.probe()
    old, fresh = tmp_path / ".drafts" / "old", tmp_path / ".drafts" / "fresh"
    for draft in (old, fresh):
        draft.write_bytes(b"half a pic")
    os.utime(old, (0, 0))
    store.probe()
    assert (old.exists(), fresh.exists()) == (False, True)

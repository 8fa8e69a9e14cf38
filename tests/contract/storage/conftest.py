"""A store of each kind: on a real SeaweedFS, and a folder behind a real HTTP server."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qsl, urlsplit

import pytest

from common.errors import FarmError
from common.storage import Store
from common.storage.directory import DirectoryStore
from common.storage.s3 import S3Store
from common.storage.signing import UrlSigner
from tests.servers import S3Server

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
            served = self.store.serve(*self._asked(), self.headers.get("Range", ""))
        except FarmError as error:
            self._answer(error.status, str(error).encode())
        else:
            self._answer(served.status, b"".join(served.chunks), served.headers)

    def _asked(self) -> tuple[str, dict[str, str]]:
        url = urlsplit(self.path)
        return url.path.removeprefix("/v1/objects/"), dict(parse_qsl(url.query, keep_blank_values=True))

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...

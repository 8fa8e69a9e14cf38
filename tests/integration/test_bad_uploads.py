"""Uploads that are not what was asked for: each is refused and counted, and the job is finished."""

from __future__ import annotations

import hashlib
import io
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from common.infotext import SHOT_TAG
from common.messages import Grant, GrantRequest, Lease, LeasedShot, Report
from common.shot import Shot
from common.storage.directory import DirectoryStore
from coordinator.ledger.batches import upload_limit
from tests.farm import DEADLINE_S, MANIFEST, RunningFarm, ScriptedNode, drawn, running_farm, until
from tests.ingest_worker import ingest_worker
from tests.scrape import counted, refusals
from tests.servers import S3Server, running_valkey

IMAGES = 4


@pytest.fixture(scope="module", params=["directory", "s3"])
def farm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFarm]:
    """One farm with its ingest process for all tests: each brings its own job and nodes."""
    folder, changes = tmp_path_factory.mktemp("farm"), {}
    if request.param == "s3":
        s3: S3Server = request.getfixturevalue("s3_server")
        changes["storage"] = s3.storage
    with (
        running_valkey(folder / "valkey") as broker,
        # Without look-ahead a node takes several of a few shots at once, whatever the other one may do.
        running_farm(folder, broker.url, look_ahead=False, **changes) as running,
        ingest_worker(running, folder),
    ):
        yield running


@pytest.fixture
def job(operator: httpx.Client, tmp_path: Path) -> str:
    """Four shots that no other test asks for."""
    manifest = MANIFEST.replace("} mug", f"}} mug for {tmp_path.name}")
    return str(operator.post("/v1/jobs", json={"manifest": manifest}).raise_for_status().json()["id"])


@pytest.fixture
def liar(farm: RunningFarm, job: str, tmp_path: Path) -> Iterator[ScriptedNode]:
    with ScriptedNode(farm, name=f"liar-{tmp_path.name[-40:]}") as node:
        yield node


@pytest.fixture
def honest(farm: RunningFarm, liar: ScriptedNode, tmp_path: Path) -> Iterator[ScriptedNode]:
    with ScriptedNode(farm, name=f"honest-{tmp_path.name[-40:]}") as node:
        yield node


def granted(node: ScriptedNode) -> tuple[Lease, bytes, Grant]:
    """A lease, a good picture of its first shot, and the right to upload it."""
    lease = node.lease()
    good = drawn(lease.shots[0])
    return lease, good, node.grant(lease, lease.shots[0], good)


def finish(farm: RunningFarm, honest: ScriptedNode, operator: httpx.Client, job: str) -> None:
    """The job ends with every picture stored as an honest node drew it."""

    def counts() -> dict[str, int]:
        answer: dict[str, int] = operator.get(f"/v1/jobs/{job}").json()["counts"]
        return answer

    while counts() != {"done": IMAGES}:
        until(lambda: bool(counts().keys() & {"waiting"}) or counts() == {"done": IMAGES})
        if counts().get("waiting"):
            lease = honest.lease()
            for shot in lease.shots:
                honest.deliver(lease, shot)
            honest.close(lease)
    for image in operator.get(f"/v1/jobs/{job}/shots").json()["shots"]:
        stored = httpx.get(image["url"], trust_env=False).raise_for_status().content
        assert hashlib.sha256(stored).hexdigest() == image["sha256"]
        assert pixels(stored) == pixels(drawn_for(image["shot_id"]))


def drawn_for(shot_id: str) -> bytes:
    return drawn(LeasedShot(id=shot_id, attempt_id="", spec={"width": 128, "height": 128}))


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB").tobytes()


# What the store refuses: a URL is signed for one key, length, type and hash


def by_the_farm(farm: RunningFarm, reason: str) -> dict[str, int]:
    """One refusal where the farm keeps the pictures itself; a bucket answers its own."""
    return {reason: 1} if isinstance(farm.farm.store, DirectoryStore) else {}


def test_a_put_of_anything_but_the_granted_bytes_stores_nothing(
    farm: RunningFarm, liar: ScriptedNode, honest: ScriptedNode, operator: httpx.Client, job: str
):
    lease, good, grant = granted(liar)
    typed = {name: value for name, value in grant.headers.items() if name.lower() != "content-type"}
    elsewhere = grant.url.replace(grant.key, grant.key[:-1] + "x")
    for url, data, headers in (
        (grant.url, good[:-9], grant.headers),
        (grant.url, good + b"PK\x03\x04", grant.headers),
        (grant.url, good[:-1] + b"x", grant.headers),
        (grant.url, b"", grant.headers),
        (grant.url, good, typed | {"Content-Type": "image/jpeg"}),
        (grant.url, good, typed | {"Content-Type": "text/html"}),
        (elsewhere, good, grant.headers),
    ):
        with refusals(farm, **by_the_farm(farm, "upload")):
            answer = httpx.put(url, content=data, headers=headers, trust_env=False, timeout=DEADLINE_S)
        assert answer.status_code in (400, 403), (len(data), headers, answer.text)
        assert answer.text
        assert "Traceback" not in answer.text
    assert farm.farm.store.head(grant.key) is None
    liar.close(lease)
    finish(farm, honest, operator, job)


def test_an_upload_that_breaks_off_stores_nothing(
    farm: RunningFarm, liar: ScriptedNode, honest: ScriptedNode, operator: httpx.Client, job: str
):
    lease, good, grant = granted(liar)
    url = urlsplit(grant.url)
    assert url.hostname is not None
    with socket.create_connection((url.hostname, url.port or 80), timeout=DEADLINE_S) as line:
        headers = {**grant.headers, "Host": url.netloc, "Content-Length": str(len(good))}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        line.sendall(f"PUT {url.path}?{url.query} HTTP/1.1\r\n{head}\r\n".encode() + good[: len(good) // 2])
        line.shutdown(socket.SHUT_WR)
        line.recv(1000)
    assert farm.farm.store.head(grant.key) is None
    # The same URL still takes the whole.
    httpx.put(grant.url, content=good, headers=grant.headers, trust_env=False).raise_for_status()
    liar.close(lease)
    finish(farm, honest, operator, job)


def test_an_upload_is_never_overwritten(
    farm: RunningFarm, liar: ScriptedNode, honest: ScriptedNode, operator: httpx.Client, job: str
):
    lease, good, grant = granted(liar)
    for expected, refused in (((200, 201), {}), ((412,), by_the_farm(farm, "conflict"))):
        with refusals(farm, **refused):
            answer = httpx.put(grant.url, content=good, headers=grant.headers, trust_env=False)
        assert answer.status_code in expected
    assert farm.farm.store.read(grant.key, limit=len(good)) == good
    liar.close(lease)
    finish(farm, honest, operator, job)


def test_an_upload_that_is_too_large_is_refused_before_it_is_granted(
    farm: RunningFarm, liar: ScriptedNode, honest: ScriptedNode, operator: httpx.Client, job: str
):
    lease = liar.lease()
    limit = upload_limit(Shot.from_dict(lease.shots[0].spec))
    wish = GrantRequest(
        token=lease.token,
        shot_id=lease.shots[0].id,
        sha256="0" * 64,
        size=limit + 1,
        content_type="image/png",
    )
    with refusals(farm, too_large=1):
        answer = liar.http.post(f"/v1/batches/{lease.batch_id}/grants", json=wish.model_dump())
    assert answer.status_code == 413
    assert f"the limit for its image is {limit}" in answer.json()["detail"]
    liar.close(lease)
    finish(farm, honest, operator, job)


# What ingest refuses: the upload is what was granted, and not the picture


def truncated(shot: LeasedShot, other: LeasedShot) -> bytes:
    return drawn(shot)[:-40]


def no_picture(shot: LeasedShot, other: LeasedShot) -> bytes:
    return b"<html><script>alert(1)</script></html>"


def jpeg(shot: LeasedShot, other: LeasedShot) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(drawn(shot))).save(out, "JPEG")
    return out.getvalue()


def bomb(shot: LeasedShot, other: LeasedShot) -> bytes:
    """A few kilobytes that promise 2.5 gigapixels."""
    side = 50_000
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(2**22), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def of_another_size(shot: LeasedShot, other: LeasedShot) -> bytes:
    return drawn(shot.model_copy(update={"spec": shot.spec | {"width": 256}}))


def of_another_shot(shot: LeasedShot, other: LeasedShot) -> bytes:
    """What an engine made of another shot, which its file says."""
    out, exif = io.BytesIO(), Image.Exif()
    exif[SHOT_TAG] = other.id
    Image.open(io.BytesIO(drawn(other))).save(out, "PNG", exif=exif)
    return out.getvalue()


@pytest.mark.parametrize("farm", ["s3"], indirect=True)
@pytest.mark.parametrize(
    ("made", "failure"),
    [
        (truncated, "not_an_image"),
        (no_picture, "not_an_image"),
        (jpeg, "wrong_format"),
        (bomb, "wrong_size"),
        (of_another_size, "wrong_size"),
        (of_another_shot, "wrong_shot"),
    ],
)
def test_an_upload_that_is_not_the_picture_is_refused_and_counted(
    farm: RunningFarm,
    liar: ScriptedNode,
    honest: ScriptedNode,
    operator: httpx.Client,
    job: str,
    made: Callable[[LeasedShot, LeasedShot], bytes],
    failure: str,
):
    before = counted(farm, "farm_attempts", failure=failure)
    lease = liar.lease()
    liar.deliver(lease, lease.shots[0], made(lease.shots[0], lease.shots[1]))
    liar.close(lease)
    until(lambda: counted(farm, "farm_attempts", failure=failure) == before + 1)
    finish(farm, honest, operator, job)


@pytest.mark.parametrize("farm", ["s3"], indirect=True)
def test_a_shot_is_not_delivered_by_another_shots_upload(
    farm: RunningFarm, liar: ScriptedNode, honest: ScriptedNode, operator: httpx.Client, job: str
):
    before = counted(farm, "farm_attempts", failure="upload_missing")
    lease = liar.lease()
    mine, other = lease.shots[:2]
    delivered = liar.deliver(lease, mine)
    stolen = delivered.model_copy(update={"shot_id": other.id})
    path = f"/v1/batches/{lease.batch_id}/reports"
    with refusals(farm, invalid=1):
        answer = liar.http.post(path, json=stolen.model_dump(mode="json"))
    assert answer.status_code == 422
    assert "the key of the upload must be" in answer.json()["detail"]
    liar.post(path, Report.model_validate(stolen.model_dump() | {"key": None}))
    liar.close(lease)
    until(lambda: counted(farm, "farm_attempts", failure="upload_missing") == before + 1)
    finish(farm, honest, operator, job)

"""Several sizes of each image: rendered once, made from the stored image, pulled, deleted with it."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import httpx
import pytest
from PIL import Image

from common.errors import NotFound, Unavailable
from common.views import PictureOrigin
from coordinator.cli import download
from coordinator.cli.pull import pull
from coordinator.cli.verify import hash_of
from coordinator.client import FarmClient
from coordinator.importing.pictures import shot_id
from coordinator.pictures.marks import has_mark
from tests.farm import DEADLINE_S, MANIFEST, RunningFarm, ScriptedNode
from tests.ingest_worker import ingest_worker
from tests.integration.test_delivery import render_all, submit

BANNER = "{name: banner, size: 120x40, crop: pad, background: 00ff00}"
SIZES = f"sizes: [128x128, {{name: thumb, size: 64x64}}, {BANNER}, 2x]"


@pytest.fixture
def farm(farm_of_each_store: RunningFarm) -> RunningFarm:
    return farm_of_each_store


@pytest.fixture
def client(farm: RunningFarm) -> Iterator[FarmClient]:
    with FarmClient(farm.url, "operator-key") as client:
        yield client


def opened(file: Path) -> Image.Image:
    with Image.open(file) as image:
        image.load()
    return image


def manifest(folder: Path, output: str) -> str:
    """A bucket is shared by the tests of this run, so these shots are this folder's own."""
    text = MANIFEST.replace("} mug", f"}} mug for {folder.name}")
    return text.replace(
        'output: {name: "{colour}-{seed}"}', f"output: {{name: '{{colour}}-{{seed}}', {output}}}"
    )


def rendered(farm: RunningFarm, operator: httpx.Client, node: ScriptedNode, folder: Path, output: str) -> str:
    with ingest_worker(farm, folder):
        job = submit(operator, manifest(folder, output))
        render_all(node, operator, job, 4)
    return job


def origin_of(client: FarmClient, content: bytes, shows: str | None = None) -> PictureOrigin:
    return client.origin(hashlib.sha256(content).hexdigest(), shot_id(content), shows)


def saved_again(content: bytes) -> bytes:
    """As another program does it: half as large, another format, without metadata."""
    copy = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        small = image.convert("RGB").resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    small.save(copy, "JPEG", quality=70)
    return copy.getvalue()


def exports(farm: RunningFarm) -> list[str]:
    """What clients asked for; ingest makes the thumbnails beside it."""
    return [key for key in farm.farm.store.keys("exports/") if not key.endswith("/thumbnail.webp")]


def zipped(farm: RunningFarm, job: str, asked: str = "") -> dict[str, bytes]:
    """The zip that the page of the job offers: content by name."""
    headers = {"origin": farm.url}
    with httpx.Client(base_url=farm.url, headers=headers, timeout=DEADLINE_S, trust_env=False) as browser:
        assert browser.post("/sign-in", data={"key": "operator-key"}).status_code == 303
        answer = browser.get(
            f"/jobs/{job}/images.zip{asked}", headers={"range": "bytes=10-"} if not asked else {}
        )
        assert (answer.status_code, answer.headers["accept-ranges"]) == (200, "bytes" if asked else "none")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def pull_twice_at_once(client: FarmClient, job: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Two pulls into one folder, which look for the first file at once; files fetched."""
    meeting, whole = Barrier(2, timeout=DEADLINE_S), download._is_whole

    def together(file: Path, sha256: str) -> bool:
        is_whole = whole(file, sha256)
        with suppress(BrokenBarrierError):
            meeting.wait()
            meeting.abort()
        return is_whole

    monkeypatch.setattr(download, "_is_whole", together)
    with ThreadPoolExecutor() as threads:
        pulls = [threads.submit(pull, client, job, folder, 1) for _ in range(2)]
        return sum(one.result().fetched for one in pulls)


def test_a_job_is_pulled_in_each_of_its_sizes_without_another_rendering(
    farm: RunningFarm,
    operator: httpx.Client,
    node: ScriptedNode,
    client: FarmClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    before = {*exports(farm)}
    job = rendered(farm, operator, node, tmp_path, f"{SIZES}, format: webp")
    folder = tmp_path / "pulled"
    assert pull(client, job, folder).fetched == 16
    names = {"128x128": (128, 128), "thumb": (64, 64), "banner": (120, 40), "2x": (256, 256)}
    found = {file.name: opened(file) for file in folder.iterdir()}
    assert {name: image.size for name, image in found.items()} == {
        f"{colour}-{seed}-{name}.webp": size
        for colour in ("red", "blue")
        for seed in (0, 1)
        for name, size in names.items()
    }
    red, green, blue = found["red-0-banner.webp"].convert("RGB").getpixel((2, 20))
    assert (red < 20, green > 235, blue < 20) == (True, True, True)
    assert b"Steps:" in found["red-0-thumb.webp"].getexif().tobytes().replace(b"\0", b"")
    # The size of the image itself is the stored file.
    stored = {image.name: image for image in client.shots(job)}
    original = (folder / "red-0-128x128.webp").read_bytes()
    assert len(original) == stored["red-0-*"].size
    made = {*exports(farm)} - before
    assert len(made) == 12
    pictures = {name: (folder / f"red-0-{name}.webp").read_bytes() for name in ("thumb", "128x128")}
    told = {name: origin_of(client, content) for name, content in pictures.items()}
    assert {name: one.answer for name, one in told.items()} == {"thumb": "export", "128x128": "stored"}
    of_shot = node.joined.node_id, stored["red-0-*"].shot_id
    assert {(one.node, one.shot_id) for one in told.values()} == {of_shot}
    assert origin_of(client, pictures["thumb"] + b"\0").answer == "named"
    copy = saved_again(original)
    with pytest.raises(NotFound):
        origin_of(client, copy)
    # Images of all shots are drawn alike here.
    alike = origin_of(client, copy, hash_of(copy))
    assert (alike.answer, alike.is_ours) == ("alike", False)
    assert all(map(has_mark, pictures.values()))
    # Another one was killed before.
    (tmp_path / "twice").mkdir()
    killed = hashlib.sha256(min(found).encode()).hexdigest()[:16]
    (tmp_path / "twice" / f".{killed}.part").write_bytes(b"half")
    assert pull_twice_at_once(client, job, tmp_path / "twice", monkeypatch) == 16
    assert {file.name for file in (tmp_path / "twice").iterdir()} == set(found)
    assert zipped(farm, job) == {file.name: file.read_bytes() for file in folder.iterdir()}
    originals = zipped(farm, job, "?rendered=true")
    assert (len(originals), originals["red-0-original.webp"]) == (4, original)
    # Everything is there: neither computed nor downloaded again.
    again = pull(client, job, folder)
    assert (again.fetched, again.kept, {*exports(farm)} - before) == (0, 16, made)
    more = operator.post("/v1/jobs", json={"manifest": manifest(tmp_path, "sizes: [32x64], format: webp")})
    assert (more.json()["new"], more.json()["reused"]) == (0, 4)
    assert pull(client, more.json()["id"], tmp_path / "more").fetched == 4
    assert opened(tmp_path / "more" / "blue-1-32x64.webp").size == (32, 64)
    assert operator.get(f"/v1/jobs/{more.json()['id']}/table").json()["rows"] == []
    # A deleted image takes them along.
    operator.post(f"/v1/jobs/{job}/delete", json={"by": "ana"}).raise_for_status()
    assert {*exports(farm)} - before != set(), "the second job has the images"
    operator.post(f"/v1/jobs/{more.json()['id']}/delete", json={"by": "ana"}).raise_for_status()
    assert {*exports(farm)} - before == set()
    assert [origin_of(client, content).answer for content in pictures.values()] == ["named", "deleted"]


def test_what_cannot_be_exported_is_told(
    farm: RunningFarm, operator: httpx.Client, node: ScriptedNode, client: FarmClient, tmp_path: Path
):
    job = submit(operator, manifest(tmp_path, "sizes: [64x64]"))
    with pytest.raises(NotFound, match=r"image 0 of job .* is not stored"):
        client.export(job, 0, "64x64")
    with pytest.raises(NotFound, match="has no export thumb; it has: 64x64"):
        client.export(job, 0, "thumb")
    with pytest.raises(NotFound, match=r"image 9 of job .* is not stored"):
        client.export(job, 9, "64x64")
    missing = pull(client, job, tmp_path / "early")
    assert (missing.fetched, missing.missing) == (0, 4)


def test_an_export_that_a_deletion_overtook_does_not_stay_in_the_store(
    farm: RunningFarm, operator: httpx.Client, node: ScriptedNode, client: FarmClient, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    job = rendered(farm, operator, node, tmp_path, "sizes: [64x64]")
    before = exports(farm)
    store = farm.farm.store
    read = type(store).read

    def deleted_meanwhile(self: object, key: str, *, limit: int) -> bytes:
        data = read(store, key, limit=limit)
        operator.post(f"/v1/jobs/{job}/delete", json={"by": "ana"}).raise_for_status()
        return data

    monkeypatch.setattr(type(store), "read", deleted_meanwhile)
    with pytest.raises(NotFound, match="it was deleted"):
        client.export(job, 0, "64x64")
    assert exports(farm) == before


def test_an_image_that_the_store_lost_or_damaged_is_told_of(
    farm: RunningFarm, operator: httpx.Client, node: ScriptedNode, client: FarmClient, tmp_path: Path
):
    job = rendered(farm, operator, node, tmp_path, "sizes: [64x64]")
    key = next(iter(client.shots(job))).key
    assert key is not None
    farm.farm.store.delete(key)
    with pytest.raises(NotFound, match=f"nothing is stored at {key}"):
        client.export(job, 0, "64x64")
    farm.farm.store.create(key, bytes(9), content_type="image/png", metadata={})
    with pytest.raises(Unavailable, match=f"the store has damaged bytes at {key}; restore them"):
        client.export(job, 0, "64x64")

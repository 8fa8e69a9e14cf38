"""An engine that is not trusted makes its node read no file but its own images and output."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from common.messages import Grant, GrantRequest, Lease, Report, Spent
from gpu_node import protocol
from gpu_node.agent.deliver import Deliverer, RenderFacts
from gpu_node.agent.engine_client import EngineClient
from gpu_node.agent.progress import Progress
from gpu_node.energy import DeclaredMeter
from gpu_node.errors import RenderError
from gpu_node.system import read_carefully

LEASE = Lease(batch_id="b-1", token="t-1", model="m", recipe="r", pass_size=1, shots=())
SHOT, SECRET = "a" * 64, b"the key of the node"
FACTS = RenderFacts(spent=Spent(), peak_bytes=None, fingerprint={})


class Farm:
    """Grants everything, and keeps what it hears."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.uploads: list[bytes] = []

    def grants(self, _: str, wishes: Sequence[GrantRequest]) -> list[Grant]:
        return [Grant(key=one.sha256, url="https://store.example/key", headers={}) for one in wishes]

    def report(self, _: str, reports: Sequence[Report]) -> None:
        self.reports += reports

    def put(self, request: httpx.Request) -> httpx.Response:
        self.uploads.append(request.content)
        return httpx.Response(200)


def image(**changes: Any) -> dict[str, Any]:
    told = {
        "event": "image",
        "shot_id": SHOT,
        "sha256": hashlib.sha256(SECRET).hexdigest(),
        "size": len(SECRET),
    }
    return told | {"content_type": "image/png", "save_s": 0.0} | changes


@pytest.mark.parametrize("way", ["link", "pipe", "folder", "image"])
def test_only_an_image_in_the_spool_is_uploaded_and_removed(tmp_path: Path, way: str) -> None:
    secret, spool, farm = tmp_path / "identity", tmp_path / "spool", Farm()
    secret.write_bytes(SECRET)
    spool.mkdir()
    file = spool / f"{SHOT}.png"
    match way:
        case "link":
            file.symlink_to(secret)
        case "pipe":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
        case _:
            file.write_bytes(b"an image")
    event = protocol.EVENT.validate_python(image())
    assert isinstance(event, protocol.Image)
    batch = Progress(DeclaredMeter(100.0), lambda: None).take(LEASE)
    with httpx.Client(transport=httpx.MockTransport(farm.put)) as store:
        coordinator: Any = farm
        delivery = Deliverer(coordinator, store, batch, spool)
        delivery.image(event, FACTS)
        delivery.finish()

    (report,) = farm.reports
    assert farm.uploads == ([b"an image"] if way == "image" else [])
    assert report.failure == (None if way == "image" else "disk_full")
    assert secret.read_bytes() == SECRET
    assert way == "folder" or not os.path.lexists(file)


@pytest.mark.parametrize(
    "changes", [{"file": "/home/ana/.ssh/id_ed25519"}, {"shot_id": "../identity"}, {"shot_id": ""}]
)
def test_an_engine_names_no_file(changes: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        protocol.EVENT.validate_python(image(**changes))


def test_what_an_engine_puts_in_the_place_of_its_output_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, program = tmp_path / "identity", tmp_path / "engine"
    secret.write_bytes(SECRET)
    once, output = tmp_path / "once", tmp_path / "engine.log"
    program.write_text(
        f"#!/bin/sh\necho last words >&2\n[ -e {once} ] || ln -sf {secret} {output}\ntouch {once}\nexit 3\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    engine = EngineClient(device="cpu", threads=1, home=tmp_path)
    for words in ("ended with code 3 (log", "last output: last words"):
        engine.start()
        with pytest.raises(RenderError) as told:
            engine.event(30.0)
        assert words in str(told.value)
        assert SECRET.decode() not in str(told.value)
    assert secret.read_bytes() == SECRET


def test_what_an_engine_wrote_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "embedding").write_bytes(SECRET)
    assert read_carefully(tmp_path / "embedding") == SECRET
    (tmp_path / "link").symlink_to(tmp_path / "embedding")
    with pytest.raises(OSError, match="link"):
        read_carefully(tmp_path / "link")

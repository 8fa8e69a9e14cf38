"""Files arrive whole and hashed, or there is one sentence that says what to do."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from common.errors import FarmError, Forbidden, Invalid, NotFound, Unavailable
from coordinator.models import fetch as module
from coordinator.models.choice import Chosen
from coordinator.models.fetch import Fetched, fetch
from coordinator.models.source import Source, open_source
from coordinator.models.web import Web
from tests.hub import TOKEN, Hub

CONTENT = os.urandom(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REPO = "someone/model"


@pytest.fixture
def stored(hub: Hub) -> Hub:
    hub.repos[REPO] = {"a.safetensors": CONTENT, "config.json": b"{}"}
    hub.others["/b.safetensors"] = CONTENT
    return hub


class Asked(NamedTuple):
    source: Source
    chosen: tuple[Chosen, ...]


def ask(said: str, web: Web) -> Asked:
    source = open_source(said, web)
    chosen = tuple(Chosen(path=file.path, size=file.size, file=file) for file in source.files)
    return Asked(source, chosen)


def nothing(done: int, total: int) -> None:
    pass


def brought(said: str, folder: Path, web: Web) -> tuple[Fetched, ...]:
    return fetch(ask(said, web).chosen, folder, web, nothing)


def test_the_files_of_a_repository_arrive_and_are_compared_with_its_hashes(
    stored: Hub, web: Web, tmp_path: Path
) -> None:
    found = {each.path: each for each in brought(f"hf:{REPO}", tmp_path / "x", web)}

    assert (tmp_path / "x" / "a.safetensors").read_bytes() == CONTENT
    assert (found["a.safetensors"].sha256, found["a.safetensors"].is_published) == (SHA256, True)
    assert not found["config.json"].is_published
    assert sorted(file.name for file in (tmp_path / "x").iterdir()) == ["a.safetensors", "config.json"]


def test_a_source_is_pinned_to_its_commit(stored: Hub, web: Web) -> None:
    assert ask(f"hf:{REPO}@main", web).source.origin == f"hf:{REPO}@{'c' * 40}"
    assert ask(f"{stored.url}/{REPO}", web).source.origin == f"hf:{REPO}@{'c' * 40}"
    one = ask(f"{stored.url}/{REPO}/blob/main/a.safetensors", web)
    assert [file.path for file in one.source.files] == ["a.safetensors"]
    assert one.source.is_file


def test_trees_of_several_pages_are_read_whole(stored: Hub, web: Web) -> None:
    stored.repos[REPO] |= {f"{number}.json": b"{}" for number in range(20)}

    assert len(ask(f"hf:{REPO}", web).chosen) == 22


def test_files_outside_the_folder_are_no_files_of_a_repository(stored: Hub, web: Web) -> None:
    stored.repos[REPO] |= {"../../evil.json": b"{}", "/etc/evil.json": b"{}", "a\\..\\evil.json": b"{}"}

    assert sorted(each.path for each in ask(f"hf:{REPO}", web).chosen) == ["a.safetensors", "config.json"]


def test_progress_counts_all_bytes_of_all_files(stored: Hub, web: Web, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    fetch(ask(f"hf:{REPO}", web).chosen, tmp_path, web, lambda done, total: told.append((done, total)))

    assert told == sorted(told)
    assert told[-1] == (len(CONTENT) + 2, len(CONTENT) + 2)


@pytest.mark.parametrize("said", [f"hf:{REPO}/a.safetensors", "/b.safetensors"])
def test_a_broken_connection_is_taken_up_where_it_ended(
    said: str, stored: Hub, web: Web, tmp_path: Path
) -> None:
    said = said if said.startswith("hf:") else stored.url + said
    chosen = ask(said, web).chosen
    stored.breaks_after, stored.breaks = 100_000, 2
    stored.requests.clear()

    found = fetch(chosen, tmp_path, web, nothing)

    assert found[0].sha256 == SHA256
    assert [asked for _, asked in stored.requests] == ["", "bytes=100000-", "bytes=200000-"]


def test_a_connection_that_brings_nothing_ends_with_a_sentence_and_a_later_call_goes_on(
    stored: Hub, web: Web, tmp_path: Path
) -> None:
    chosen = ask(f"hf:{REPO}/a.safetensors", web).chosen
    stored.breaks_after = 0
    stored.requests.clear()

    with pytest.raises(
        Unavailable, match=r"connection failed .*; check the network and run the command again"
    ):
        fetch(chosen, tmp_path, web, nothing)
    assert len(stored.requests) == 5
    stored.breaks_after, stored.breaks = 100_000, 1
    with pytest.raises(KeyboardInterrupt):
        fetch(chosen, tmp_path, web, _interrupt)
    stored.breaks_after = None
    stored.requests.clear()
    assert fetch(chosen, tmp_path, web, nothing)[0].sha256 == SHA256
    assert [asked for _, asked in stored.requests] == ["bytes=100000-"]


def _interrupt(done: int, total: int) -> None:
    if done == 100_000:
        raise KeyboardInterrupt


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(
    stored: Hub, web: Web, tmp_path: Path
) -> None:
    said = f"{stored.url}/b.safetensors"
    stored.breaks_after, stored.breaks = 100_000, None
    with pytest.raises(KeyboardInterrupt):
        fetch(ask(said, web).chosen, tmp_path, web, _interrupt)
    stored.breaks_after = None
    stored.others["/b.safetensors"] = bytes(reversed(CONTENT))

    found = fetch(ask(said, web).chosen, tmp_path, web, nothing)

    assert found[0].sha256 == hashlib.sha256(bytes(reversed(CONTENT))).hexdigest()


def test_a_server_without_ranges_sends_the_file_again(stored: Hub, web: Web, tmp_path: Path) -> None:
    chosen = ask(f"{stored.url}/b.safetensors", web).chosen
    stored.ignores_ranges = True
    stored.breaks_after, stored.breaks = 100_000, 1

    assert fetch(chosen, tmp_path, web, nothing)[0].sha256 == SHA256


def test_a_wrong_byte_is_found_by_the_published_hash_and_what_arrived_is_dropped(
    stored: Hub, web: Web, tmp_path: Path
) -> None:
    stored.damages = True

    with pytest.raises(Unavailable, match="damaged on its way: run the command again"):
        brought(f"hf:{REPO}/a.safetensors", tmp_path, web)
    assert not list(tmp_path.glob("*a.safetensors*"))
    stored.damages = False
    assert brought(f"hf:{REPO}/a.safetensors", tmp_path, web)[0].sha256 == SHA256


def test_what_is_here_already_is_hashed_and_not_fetched_again(stored: Hub, web: Web, tmp_path: Path) -> None:
    chosen = ask(f"hf:{REPO}/a.safetensors", web).chosen
    fetch(chosen, tmp_path, web, nothing)
    stored.requests.clear()

    assert fetch(chosen, tmp_path, web, nothing)[0].sha256 == SHA256
    assert stored.requests == []


def test_a_gated_repository_says_what_to_do_and_opens_to_the_token(
    stored: Hub, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.gated.add(REPO)
    with pytest.raises(Forbidden, match=f"accept its terms at {stored.url}/{REPO}, .* and set HF_TOKEN"):
        brought(f"hf:{REPO}", tmp_path, web)

    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with Web() as allowed:
        assert brought(f"hf:{REPO}/a.safetensors", tmp_path, allowed)[0].sha256 == SHA256
    assert stored.authorized[f"/{REPO}/resolve/{'c' * 40}/a.safetensors"] == f"Bearer {TOKEN}"
    assert stored.authorized[f"/cdn/{SHA256}"] == ""


def test_the_token_may_lie_where_the_hubs_own_login_puts_it(
    stored: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.gated.add(REPO)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))

    with Web() as allowed:
        assert brought(f"hf:{REPO}/a.safetensors", tmp_path / "x", allowed)[0].sha256 == SHA256


@pytest.mark.parametrize(
    ("said", "kind", "sentence"),
    [
        (
            "hf:nobody/nothing",
            Forbidden,
            "nobody/nothing needs a login.*a misspelled name gets the same answer",
        ),
        (f"hf:{REPO}/none.safetensors", NotFound, "has no file none.safetensors"),
        ("hf:justaname", Invalid, "write hf:OWNER/NAME"),
        ("/none.safetensors", NotFound, "does not exist"),
        ("no-such-thing", NotFound, "write a model of the hub as hf:OWNER/NAME"),
        ("http://127.0.0.1:9/x.safetensors", Unavailable, "the connection failed"),
    ],
)
def test_what_cannot_be_had_gets_one_sentence(
    said: str, kind: type[FarmError], sentence: str, stored: Hub, web: Web
) -> None:
    with pytest.raises(kind, match=sentence) as refused:
        open_source(stored.url + said if said.startswith("/") else said, web)

    assert "\n" not in str(refused.value)


def test_a_secret_in_an_address_is_not_repeated(stored: Hub, web: Web) -> None:
    assert "secret" not in ask(f"{stored.url}/b.safetensors?token=secret", web).source.origin
    with pytest.raises(NotFound) as refused:
        open_source(f"{stored.url}/none?token=secret", web)
    assert "secret" not in str(refused.value)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_too_little_space_is_noticed_before_anything_is_fetched(
    stored: Hub, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ask(f"hf:{REPO}", web).chosen
    stored.requests.clear()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 9, 1))

    with pytest.raises(Invalid, match="free space, or set `home` to a folder on a larger disk"):
        fetch(chosen, tmp_path, web, nothing)
    assert stored.requests == []


def test_a_disk_that_fills_meanwhile_ends_with_a_sentence(
    stored: Hub, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_continue", full)

    with pytest.raises(Invalid, match=r"is full before all .* have arrived; free space"):
        brought(f"hf:{REPO}", tmp_path, web)


def test_a_file_on_the_same_disk_gets_a_second_name(web: Web, tmp_path: Path) -> None:
    (tmp_path / "c.safetensors").write_bytes(CONTENT)

    found = brought(str(tmp_path / "c.safetensors"), tmp_path / "x", web)

    assert found[0].sha256 == SHA256
    assert (tmp_path / "x" / "c.safetensors").stat().st_ino == (tmp_path / "c.safetensors").stat().st_ino

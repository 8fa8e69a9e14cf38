"""Nodes of a machine share its memory and its CPU threads, however many there are."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from common.cards import REFERENCE_CARDS
from common.catalog import load_catalog
from common.fit import Fit, fit, plain_shot, ram_bytes, runnable
from gpu_node import protocol
from gpu_node.engine.worker import EngineWorker
from gpu_node.identity import Hashes
from gpu_node.machine import Neighbours, Share
from tests.waiting import PATIENCE_S

#: Of a node that runs until its stdin closes.
PROGRAM = """
import sys
from pathlib import Path
from gpu_node.machine import Neighbours
with Neighbours([Path(sys.argv[1])]).present():
    print("here", flush=True)
    sys.stdin.read()
"""
CARD = REFERENCE_CARDS[8]


@contextmanager
def another_node(folder: Path, *, umask: int = -1) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        umask=umask,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        yield process


def test_two_nodes_have_half_of_memory_and_threads_each(tmp_path: Path) -> None:
    neighbours = Neighbours([tmp_path / "nodes"])
    share = Share(neighbours, CARD, 12, fixed_threads=None)
    with neighbours.present():
        assert (share.card, share.threads) == (CARD, 12)
        with another_node(tmp_path / "nodes"):
            assert (share.card.ram_bytes, share.threads) == (CARD.ram_bytes // 2, 6)
            with another_node(tmp_path / "nodes") as killed:
                assert (share.card.ram_bytes, share.threads) == (CARD.ram_bytes // 3, 4)
                killed.send_signal(signal.SIGKILL)
                killed.wait()
                assert share.nodes == 2
        assert (share.card, share.threads) == (CARD, 12)


def test_what_fits_goes_by_the_part_of_the_memory(tmp_path: Path) -> None:
    model = load_catalog().models["sdxl"]
    # Enough for one node.
    card = replace(CARD, ram_bytes=min(ram_bytes(model, recipe) for recipe in runnable(model, CARD)))
    neighbours = Neighbours([tmp_path / "nodes"])
    share = Share(neighbours, card, 1, fixed_threads=None)
    with neighbours.present():
        assert isinstance(fit(plain_shot(model), model, share.card), Fit)
        with another_node(tmp_path / "nodes"):
            assert "host memory" in str(fit(plain_shot(model), model, share.card))


def test_threads_that_the_owner_names_are_not_shared(tmp_path: Path) -> None:
    neighbours = Neighbours([tmp_path / "nodes"])
    with neighbours.present(), another_node(tmp_path / "nodes"):
        assert Share(neighbours, CARD, 12, fixed_threads=8).threads == 8
    assert Share(None, CARD, 1, fixed_threads=None).card == CARD


def test_a_folder_that_cannot_be_written_ends_no_node(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    neighbours = Neighbours([tmp_path / "file" / "nodes"])
    with neighbours.present():
        assert neighbours.nodes() == 1


def test_nodes_meet_in_the_first_folder_that_exists_and_make_the_last(tmp_path: Path) -> None:
    units, temporary = tmp_path / "units", tmp_path / "temporary"
    with Neighbours([units, temporary]).present():
        assert len([*temporary.glob("*.node")]) == 1
    assert temporary.stat().st_mode & 0o7777 == 0o1777
    units.mkdir()
    with another_node(units):
        assert Neighbours([units, temporary]).nodes() == 1
        with Neighbours([units, temporary]).present():
            assert Neighbours([units, temporary]).nodes() == 2
    assert units.stat().st_mode & 0o7777 != 0o1777


def test_nodes_of_other_users_see_a_node_whatever_its_umask(tmp_path: Path) -> None:
    with another_node(tmp_path / "nodes", umask=0o077):
        (file,) = (tmp_path / "nodes").glob("*.node")
        assert (file.parent.stat().st_mode & 0o7777, file.stat().st_mode & 0o777) == (0o1777, 0o644)


def test_a_node_does_not_wait_for_somebody_who_keeps_its_file_locked(tmp_path: Path) -> None:
    file = tmp_path / f"{os.getpid()}.node"
    file.touch()
    entered = threading.Event()

    def enter() -> None:
        with Neighbours([tmp_path]).present():
            entered.set()

    with file.open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        threading.Thread(target=enter, daemon=True).start()
        assert entered.wait(PATIENCE_S)


def test_the_engine_takes_the_threads_of_each_batch(tmp_path: Path) -> None:
    before, events = torch.get_num_threads(), list[protocol.Event]()
    worker = EngineWorker("cpu", tmp_path, Hashes(tmp_path / "hashes.json"), events.append, threading.Event())
    try:
        worker.execute(protocol.Encode(texts=(), threads=before + 1))
        assert torch.get_num_threads() == before + 1
        worker.execute(protocol.Encode(texts=()))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)

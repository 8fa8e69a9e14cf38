"""The engine is a process that can die and be killed at any moment."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_node import protocol
from gpu_node.agent.engine_client import EngineClient
from gpu_node.errors import RenderError
from tests.engine_talk import ask, encode_command, load_command, next_event, render_command, shot
from tests.faults.engines import with_engine

_PARENT = """
import sys, time
from pathlib import Path
from gpu_node.agent.engine_client import EngineClient
engine = EngineClient(device="cpu", threads=1, home=Path(sys.argv[1]))
engine.start()
while engine.event(60) is None: pass
print(engine.pid, flush=True)
sys.stdin.read()
"""
#: What C++ does where nobody catches that memory ran out.
_ABORTS = """
import ctypes
ctypes.CDLL("libstdc++.so.6")._ZSt17__throw_bad_allocv()
"""


@pytest.fixture
def engine(tmp_path: Path) -> EngineClient:
    client = EngineClient(device="cpu", threads=1, home=tmp_path)
    client.start()
    return client


def hear_to_the_end(engine: EngineClient) -> None:
    while True:
        next_event(engine)


def test_an_engine_that_aborts_for_want_of_memory_ran_out_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "engine"
    broken.write_text(f"#!{sys.executable}\n{_ABORTS}")
    broken.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(broken))
    client = EngineClient(device="cpu", threads=1, home=tmp_path)
    client.start()

    with pytest.raises(RenderError, match=r"killed by signal 6.*bad_alloc") as caught:
        hear_to_the_end(client)

    assert caught.value.kind == "out_of_memory"


def test_a_killed_engine_is_an_engine_that_died(engine: EngineClient, tiny_model: Path) -> None:
    ask(engine, load_command(tiny_model))
    endless = shot(steps=100_000)
    ask(engine, encode_command(endless.prompt))
    engine.send(render_command(endless))
    assert isinstance(next_event(engine), protocol.Step)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)

    with pytest.raises(RenderError, match="killed by signal 9") as caught:
        hear_to_the_end(engine)

    assert caught.value.kind == "engine_died"


def test_a_dead_engine_starts_again_and_holds_nothing(engine: EngineClient, tiny_model: Path) -> None:
    ask(engine, load_command(tiny_model))
    # It renders without a network, or says why it has one.
    networks = [Path(f"/proc/{process}/ns/net").readlink() for process in ("self", engine.pid)]
    assert (networks[0] == networks[1]) == bool(engine.unconfined)
    engine.kill()
    engine.start()

    failed = ask(engine, render_command(shot()))[-1]

    assert isinstance(failed, protocol.Failed)
    assert failed.message == "no model is loaded"
    engine.stop()


def test_an_engine_that_not_even_a_kill_ends_is_given_up_as_a_lost_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = EngineClient(
        device="cpu",
        threads=1,
        home=tmp_path,
        environment={"PYTHONPATH": with_engine("quick")["PYTHONPATH"]},
    )
    engine.start()
    hanging = engine.pid or 0
    given_up: list[subprocess.Popen[str]] = []
    with monkeypatch.context() as unkillable:
        unkillable.setattr("gpu_node.agent.engine_client._DEATH_S", 0.1)
        unkillable.setattr("subprocess.Popen.kill", lambda process: given_up.append(process))
        os.kill(hanging, signal.SIGSTOP)
        with pytest.raises(RenderError, match="restart this machine") as caught:
            engine.kill()
    os.kill(hanging, signal.SIGKILL)
    given_up[0].wait()

    assert caught.value.kind == "device_lost"
    engine.start()
    assert engine.pid != hanging
    engine.stop()


@pytest.mark.timeout(120)
def test_an_engine_that_reads_nothing_holds_nobody_up(engine: EngineClient) -> None:
    os.kill(engine.pid or 0, signal.SIGSTOP)
    # More than fits a pipe.
    engine.send(encode_command("a very long prompt " * 10_000))

    assert engine.event(0.1) is None
    engine.kill()


def test_an_engine_that_cannot_be_started_says_why_once_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    client = EngineClient(device="cpu", threads=1, home=tmp_path / "file")
    client.start()

    with pytest.raises(RenderError, match=r"cannot be started.*file/spool"):
        client.send(render_command(shot()))
    client.kill()


def test_an_engine_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    child = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()

    # A pidfd becomes readable when its process ends, whoever's child it is.
    ended, _, _ = select.select([child], [], [], 10.0)

    assert ended
    os.close(child)


def test_an_engine_that_is_sent_nonsense_ends(tmp_path: Path) -> None:
    arguments = [
        "--device",
        "cpu",
        "--threads",
        "1",
        "--spool",
        str(tmp_path),
        "--hashes",
        str(tmp_path / "h"),
    ]
    engine = subprocess.Popen(
        [sys.executable, "-m", "gpu_node.engine", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert engine.stdin is not None
    engine.stdin.write(b'{"command": "sing"}\n')
    engine.stdin.flush()
    engine.wait(60)
    engine.stdin.close()


def test_an_engine_in_the_middle_of_a_pass_ends_when_its_stdin_closes(
    engine: EngineClient, tiny_model: Path
) -> None:
    ask(engine, load_command(tiny_model))
    endless = shot(steps=100_000)
    ask(engine, encode_command(endless.prompt))
    engine.send(render_command(endless))
    assert isinstance(next_event(engine), protocol.Step)

    engine.stop()

    # It was not killed for being late.
    assert engine.exit_code == 0

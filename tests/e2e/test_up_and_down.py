"""`farm up`, `farm status`, `farm down`."""

from __future__ import annotations

import os
import signal
import stat

import pytest

from tests.e2e.farmhouse import Farmhouse

pytestmark = pytest.mark.slow


def test_down_leaves_nothing_running_and_up_finds_the_same_farm_again(house: Farmhouse) -> None:
    house.farm("up")
    before = (house.folder / ".farm" / "farm.yaml").read_text()
    assert house.processes()
    house.farm("down")
    assert house.processes() == []
    house.farm("up")
    assert (house.folder / ".farm" / "farm.yaml").read_text() == before


def test_up_waits_until_every_part_is_ready(running: Farmhouse) -> None:
    parts = {part["name"]: part for part in running.json("status")["local"]["components"]}
    assert parts == running.parts()
    assert set(parts) == {"valkey", "seaweedfs", "coordinator", "ingest"}
    assert {part["state"] for part in parts.values()} == {"ready"}


def test_a_second_up_in_one_home_says_that_one_runs(running: Farmhouse) -> None:
    assert "already running" in running.farm("up", exit_code=1).stderr


def test_two_homes_run_side_by_side(house: Farmhouse, running: Farmhouse) -> None:
    house.farm("up")
    addresses = [part["address"] for one in (house, running) for part in one.parts().values()]
    named = [address for address in addresses if address]
    assert len(named) == len(set(named))
    assert {part["state"] for one in (house, running) for part in one.parts().values()} == {"ready"}


def test_a_killed_part_is_started_again(running: Farmhouse) -> None:
    killed = running.kill("valkey")
    again = running.wait_for(running.parts, lambda parts: parts["valkey"]["restarts"] == 1)
    assert again["valkey"]["pid"] != killed
    running.wait_for(running.parts, lambda parts: parts["valkey"]["state"] == "ready")
    running.wait_for(lambda: running.json("status"), lambda status: status["farm"]["broker"] == "up")


def test_the_home_is_its_owners_only(running: Farmhouse) -> None:
    home = running.folder / ".farm"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    secrets = [*(home / "keys").iterdir(), home / "farm.yaml", home / "valkey" / "valkey.conf"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in secrets} == {0o600}


def test_a_killed_supervisor_leaves_nothing_running_and_up_starts_again(house: Farmhouse) -> None:
    house.farm("up")
    os.kill(house.json("status")["local"]["pid"], signal.SIGKILL)
    house.wait_for(house.processes, lambda processes: processes == [])
    house.farm("up")
    assert {part["state"] for part in house.parts().values()} == {"ready"}


@pytest.mark.parametrize("asking", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_a_signal_ends_all(house: Farmhouse, asking: signal.Signals) -> None:
    with house.start("up", "--foreground") as foreground:
        assert foreground.stdout is not None
        next(line for line in foreground.stdout if line == "ingest is ready\n")
        foreground.send_signal(asking)
        assert foreground.wait(60) == 0
    assert house.processes() == []


def test_started_by_nohup_it_outlives_its_terminal(house: Farmhouse) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with house.start("up", "--foreground") as foreground:
            assert foreground.stdout is not None
            next(line for line in foreground.stdout if line == "ingest is ready\n")
            foreground.send_signal(signal.SIGHUP)
            assert {part["state"] for part in house.parts().values()} == {"ready"}
            foreground.send_signal(signal.SIGINT)
            assert foreground.wait(60) == 0
    finally:
        signal.signal(signal.SIGHUP, before)

"""What a farm consists of, by its settings."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from common.errors import Conflict, Invalid, InvalidDocument, Unavailable
from common.settings import EmbeddedNode, Gateway, Keys, Settings, Storage, load_settings
from coordinator.embedded.arrange import Arrangement, arrange
from coordinator.embedded.control import _wait_until_ready, start_farm
from coordinator.embedded.farm import settings_yaml
from coordinator.embedded.home import Home
from coordinator.embedded.ports import kept_ports
from coordinator.embedded.state import hold_lock


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")


def names(arrangement: Arrangement) -> list[list[str]]:
    return [[part.name for part in stage] for stage in arrangement.stages]


def test_servers_come_first_then_the_coordinator_then_who_calls_it(home: Home) -> None:
    settings = Settings(nodes=(EmbeddedNode(name="a"), EmbeddedNode(name="b")))
    assert names(arrange(settings, home)) == [
        ["valkey", "seaweedfs"],
        ["coordinator"],
        ["ingest", "a", "b"],
    ]


def test_a_node_for_a_second_card_is_told_which(home: Home) -> None:
    settings = Settings(nodes=(EmbeddedNode(name="a"), EmbeddedNode(name="b", gpu=1)))
    _, first, second = arrange(settings, home).stages[-1]
    assert "--gpu" not in first.command
    assert second.command[-4:-2] == ("--gpu", "1")


def test_a_card_file_that_is_missing_is_refused_before_anything_starts(tmp_path: Path) -> None:
    missing = EmbeddedNode(name="a", card=str(tmp_path / "none.yaml"))
    settings = Settings(home=tmp_path / "home", nodes=(EmbeddedNode(name="b"), missing))
    with pytest.raises(InvalidDocument, match=r"none\.yaml: cannot be read: No such file"):
        start_farm(settings, settings_file=None, on_change=lambda _: pytest.fail("it starts"))
    assert not (tmp_path / "home").exists()


def test_servers_of_the_settings_are_used_and_none_started(home: Home) -> None:
    storage = Storage(url="s3://pictures", endpoint="https://s3.example")
    arrangement = arrange(Settings(broker_url="redis://redis.example", storage=storage), home)
    assert names(arrangement) == [[], ["coordinator"], ["ingest"]]
    assert arrangement.settings.storage == storage
    assert arrangement.settings.broker_url == "redis://redis.example"


def test_without_seaweedfs_pictures_go_to_a_folder_and_it_is_said(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.embedded.arrange.weed_binary", lambda: None)
    arrangement = arrange(Settings(), home)
    assert arrangement.settings.storage.url == f"file:{home.pictures}"
    assert any("SeaweedFS is not available" in remark for remark in arrangement.remarks)


def test_the_settings_in_force_read_back_as_they_were(home: Home) -> None:
    given = Settings(nodes=(EmbeddedNode(name="a"),), keys=Keys(operator=SecretStr("12e5")))
    in_force = arrange(given, home).settings
    file = home.root / "copy.yaml"
    file.write_text(settings_yaml(in_force))
    assert load_settings(file).model_dump() == in_force.model_dump()


def test_a_key_of_the_settings_is_the_one_in_its_file(home: Home) -> None:
    keys = arrange(Settings(keys=Keys(node=SecretStr("mine"))), home).settings.keys
    assert keys.node == SecretStr("mine")
    assert home.key("node") == "mine"
    assert keys.operator == SecretStr(home.key("operator"))


def test_on_every_address_the_advertised_one_is_not_the_wildcard(home: Home) -> None:
    in_force = arrange(Settings(listen="0.0.0.0"), home).settings
    for url in (in_force.public_url, in_force.public_broker_url, in_force.storage.public_endpoint):
        assert "0.0.0.0" not in url


def test_an_address_this_machine_lacks_is_refused(home: Home) -> None:
    with pytest.raises(Invalid, match=r"203\.0\.113\.9: not an address of this machine"):
        arrange(Settings(listen="203.0.113.9"), home)


def test_a_port_is_kept_while_it_is_free_and_replaced_when_taken(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = kept_ports(file, ("api", "valkey"))
    assert kept_ports(file, ("api", "valkey")) == first
    with socket.create_server(("127.0.0.1", first["api"])):
        second = kept_ports(file, ("api", "valkey"))
    assert second["api"] != first["api"]
    assert second["valkey"] == first["valkey"]


def test_farms_that_listen_on_nothing_yet_are_given_different_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten farms of three parts need 30 of 60 ports: drawn blindly, two would meet."""
    first = kept_ports(tmp_path / "first.json", ("api",))["api"]
    monkeypatch.setattr("coordinator.embedded.ports._RANGE", (first, first + 60))
    farms = [kept_ports(tmp_path / f"{n}.json", ("api", "valkey", "metrics")) for n in range(10)]
    given = [port for farm in farms for port in farm.values()]
    assert len(set(given)) == len(given)
    assert first not in given


def test_a_gateway_is_started_where_it_is_to_listen_and_hears_no_keys(home: Home) -> None:
    assert "gateway" not in [part.name for stage in arrange(Settings(), home).stages for part in stage]
    gateway = Gateway(listen="0.0.0.0", port=0, tls=False, relay=False)
    arrangement = arrange(Settings(gateway=gateway), home)
    assert names(arrangement)[-1] == ["ingest", "gateway"]
    in_force, part = arrangement.settings, arrangement.stages[-1][-1]
    assert in_force.gateway.port == kept_ports(home.ports, ("gateway",))["gateway"]
    assert in_force.gateway_url.startswith("http://")
    assert "0.0.0.0" not in in_force.gateway_url
    told = part.environment
    assert (told["FARM_GATEWAY__LISTEN"], told["FARM_GATEWAY__TLS"]) == ("0.0.0.0", "False")
    assert told["FARM_GATEWAY__FARM"] == f"http://127.0.0.1:{in_force.port}"
    assert {name.partition("__")[0] for name in told} == {"FARM_HOME", "FARM_GATEWAY"}
    assert not (home.gateway / "farm.yaml").exists()


def test_a_gateway_at_an_address_this_machine_lacks_is_refused(home: Home) -> None:
    with pytest.raises(Invalid, match=r"gateway\.listen 203\.0\.113\.9: not an address of this machine"):
        arrange(Settings(gateway=Gateway(listen="203.0.113.9")), home)


def test_the_gateway_of_a_name_is_told_by_it(home: Home) -> None:
    gateway = Gateway(listen="127.0.0.1", public_url="https://farm.example")
    assert arrange(Settings(gateway=gateway), home).settings.gateway_url == "https://farm.example"


def test_who_starts_a_farm_at_the_same_moment_as_another_is_told_that_it_runs(home: Home) -> None:
    lock = hold_lock(home)
    assert lock is not None
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(5)"]) as slower:
        slower.wait()
        with pytest.raises(Conflict, match="a farm is already running in"):
            _wait_until_ready(home, slower, lambda state: None)
    os.close(lock)
    with pytest.raises(Unavailable, match="did not start: see the logs in"):
        _wait_until_ready(home, slower, lambda state: None)

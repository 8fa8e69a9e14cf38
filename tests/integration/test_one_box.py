"""What a machine without Kubernetes gets: systemd units, a Compose file, and pages with commands.

The units are verified but not started by systemd, and no container was built.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from jsonschema.validators import validator_for

from common.certificates import pin_for_nodes, pin_of
from common.nodes import LAST_PASS_S
from common.settings import Timing, load_settings
from coordinator.gateway.server import tls_context
from gpu_node.machine import FOLDERS
from gpu_node.service import unit_text
from tests.command_words import parse_command, settings_variables
from tests.require import require_module, require_program

ROOT = Path(__file__).parents[2]
BOX = ROOT / "docs" / "examples" / "one-box"
#: Of a person who lends a card.
LENT = [sys.executable, "-P", "-m", "gpu_node.cli", "run", "--name", "attic", "--models", "/data/100% mine"]
UNITS = sorted(BOX.glob("*.service"))
INSTALLED = "/opt/shotfarm/.venv/bin"
#: Pages whose commands are checked.
PAGES = [
    "add-owned-nodes", "alerts", "backup", "deploy-on-one-box", "kubernetes", "run-a-farm",
    "run-a-farm-with-volunteers", "upgrade",
]  # fmt: skip
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_FARM = re.compile(r"(?:^|[ '(]|/bin/)((?:farm|farm-node) [a-z][^;&|')#\n]*)", re.MULTILINE)


def entries(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def start_command(unit: Path) -> list[str]:
    """The words of `ExecStart`, as systemd fills them in for the first card."""
    (line,) = entries(unit, "ExecStart")
    filled = {"${FARM_URL}": "http://farm:8080", "%d": "/run/credentials", "%l": "box", "%i": "0"}
    for word, value in filled.items():
        line = line.replace(word, value)
    return shlex.split(line.replace("$NODE_OPTIONS", "--lane=public --owner=studio"))


def verified(folder: Path, changed: str = "") -> str:
    """What `systemd-analyze` says of the units, with the programs of this checkout and a `changed` line."""
    analyze = require_program("systemd-analyze", "apt-get install systemd")
    for unit in UNITS:
        text = unit.read_text().replace(INSTALLED, str(Path(sys.executable).parent))
        (folder / unit.name.replace("@", "@0")).write_text(text.replace("[Service]", f"[Service]\n{changed}"))
    command = [analyze, "verify", *(str(unit) for unit in sorted(folder.glob("*.service")))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{done.returncode} {done.stdout}{done.stderr}".strip()


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    assert len(UNITS) == 4
    assert verified(tmp_path) == "0"


def verified_of_a_user(folder: Path, changed: str = "") -> str:
    """The same of the unit that `farm-node service install` writes, which a user's own systemd runs."""
    analyze = require_program("systemd-analyze", "apt-get install systemd")
    home = folder / "my farm, 50%"
    home.mkdir(exist_ok=True)
    text = unit_text("attic", LENT, {"FARM_HOME": str(home)}, home)
    unit = folder / "shotfarm-node-attic.service"
    unit.write_text(text.replace("[Service]", f"[Service]\n{changed}"))
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
    command = [analyze, "verify", "--user", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return f"{done.returncode} {done.stdout}{done.stderr}".strip()


def test_systemd_understands_the_unit_of_a_user(tmp_path: Path) -> None:
    assert verified_of_a_user(tmp_path) == "0"
    assert "Restrat" in verified_of_a_user(tmp_path, "Restrat=always")
    unit = tmp_path / "shotfarm-node-attic.service"
    (start,) = entries(unit, "ExecStart")
    assert shlex.split(start.replace("%%", "%")) == LENT
    assert entries(unit, "KillMode") == ["mixed"]
    assert float(*entries(unit, "TimeoutStopSec")) > LAST_PASS_S + 15


def test_a_line_that_systemd_does_not_know_would_be_found(tmp_path: Path) -> None:
    assert "Restrat" in verified(tmp_path, "Restrat=always")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_what_a_unit_starts_and_sets_is_known_to_the_program(unit: Path) -> None:
    parse_command(start_command(unit))
    given = {name for line in entries(unit, "Environment") for name in re.findall(r"(\w+)=", line)}
    assert {name for name in given if name.startswith("FARM_")} <= settings_variables()
    assert entries(unit, "User") == ["shotfarm"]
    assert entries(unit, "NoNewPrivileges") == ["yes"]


def test_a_node_has_longer_to_end_than_its_longest_pass_takes() -> None:
    (unit,) = [unit for unit in UNITS if "node" in unit.name]
    (last,) = [word.partition("=")[2] for word in start_command(unit) if word.startswith("--last-pass")]
    (stop,) = entries(unit, "TimeoutStopSec")
    assert Timing().hard_limit_s <= float(last) < float(stop) - 15
    assert entries(unit, "KillMode") == ["mixed"]


def test_the_nodes_of_a_machine_see_each_other() -> None:
    (unit,) = [unit for unit in UNITS if "node" in unit.name]
    assert entries(unit, "RuntimeDirectory") == [FOLDERS[0].name]
    assert FOLDERS[0].parent == Path("/run")
    # Of any user, and after the first of them has ended.
    assert entries(unit, "RuntimeDirectoryMode") == ["1777"]
    assert entries(unit, "RuntimeDirectoryPreserve") == ["yes"]


def test_the_settings_are_read_without_a_complaint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPERATOR", "NODE", "INGEST", "TICKET"):
        monkeypatch.setenv(f"FARM_KEYS__{name}", "secret")
    settings = load_settings(BOX / "farm.yaml")
    (state,) = {line for unit in UNITS for line in entries(unit, "StateDirectory")}
    assert settings.home == Path("/var/lib") / state
    assert settings.storage.url == f"file:{settings.home / 'pictures'}"


COMPOSE = ["docker-compose.yaml", "docker-compose.gateway.yaml"]


def compose(name: str = COMPOSE[0]) -> Any:
    return yaml.safe_load((BOX / name).read_text())


def compose_schema() -> Any:
    package = require_module("check_jsonschema", "pip install check-jsonschema")
    folder = Path(str(package.__file__)).parent / "builtin_schemas" / "vendor"
    return yaml.safe_load((folder / "compose-spec.json").read_text())


@pytest.mark.parametrize("name", COMPOSE)
def test_a_compose_file_has_the_schema_of_compose(name: str) -> None:
    schema = compose_schema()
    validator = validator_for(schema)(schema)
    validator.validate(compose(name))
    wrong = compose(name)
    wrong["services"]["coordinator"]["comand"] = ["run"]
    with pytest.raises(ValidationError, match="comand"):
        validator.validate(wrong)


@pytest.mark.parametrize("given_file", COMPOSE)
def test_what_containers_start_mount_and_set_is_known(given_file: str) -> None:
    file = compose(given_file)
    given = {name for service in file["services"].values() for name in service.get("environment", {})}
    assert {name for name in given if name.startswith("FARM_")} <= settings_variables()
    for name, service in file["services"].items():
        if "command" not in service:  # one of the other file, which is added to
            assert name in compose()["services"]
            continue
        entry = ["farm-node"] if name == "node" else []
        parse_command([*entry, *service["command"]])
        volumes = {volume.partition(":")[0] for volume in service.get("volumes", ())}
        assert volumes <= file.get("volumes", {}).keys()
        assert (BOX / service["build"]["context"] / service["build"]["dockerfile"]).exists()
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]


def test_the_gateway_of_compose_shows_the_key_that_invitations_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the certificate that the page makes; it has no key of the farm, and calls the coordinator alone."""
    page = (ROOT / "docs" / "how-to" / "deploy-on-one-box.md").read_text()
    (openssl,) = re.findall(r"^openssl req .*$", page, re.MULTILINE)
    require_program("openssl", "apt-get install openssl")
    subprocess.run(shlex.split(openssl), cwd=tmp_path, check=True, capture_output=True)
    services = compose(COMPOSE[1])["services"]
    gateway, coordinator = services["gateway"], services["coordinator"]
    (mounted,) = coordinator["configs"]
    assert mounted["target"] == gateway["environment"]["FARM_GATEWAY__CERTIFICATE"]
    assert gateway["configs"] == [mounted]
    assert gateway["environment"].items() > coordinator["environment"].items()
    files = {"FARM_GATEWAY__CERTIFICATE": "gateway.crt", "FARM_GATEWAY__CERTIFICATE_KEY": "gateway.key"}
    for name, value in gateway["environment"].items():
        monkeypatch.setenv(name, str(tmp_path / files[name]) if name in files else value)
    settings = load_settings()
    assert tls_context(settings) is not None
    assert pin_for_nodes(settings) == pin_of(tmp_path / "gateway.crt")
    assert gateway["networks"] == ["gateway"]
    assert not {"env_file", "volumes"} & gateway.keys()


def commands(page: str) -> Iterator[str]:
    """Every call of the farm's programs on a page."""
    for language, block in _BLOCK.findall((ROOT / "docs" / "how-to" / f"{page}.md").read_text()):
        if not language:
            yield from (found.strip() for found in _FARM.findall(re.sub(r" #.*", "", block)))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_a_page_is_one_that_the_program_takes(page: str) -> None:
    for command in commands(page):
        parse_command(shlex.split(command))


def test_the_pages_have_commands() -> None:
    found = [command for page in PAGES for command in commands(page)]
    assert len(found) > 20
    assert "farm restore ledger-monday.sqlite" in found
    assert any(command.startswith("farm-node doctor") for command in found)


def test_a_file_that_a_page_names_is_in_the_checkout() -> None:
    named = {
        name
        for page in PAGES
        for name in re.findall(r"(?:/opt/shotfarm/|\b(?=helm/|docs/examples))((?:helm|docs)/[\w./@-]*\w)",
                               (ROOT / "docs" / "how-to" / f"{page}.md").read_text())
    }  # fmt: skip
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []

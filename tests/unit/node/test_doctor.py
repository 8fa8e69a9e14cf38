"""`farm-node doctor` says what a machine can do and what stands in the way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.cards import load_card
from common.catalog import load_catalog
from common.nodes import Card
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.cli import app
from gpu_node.doctor import examine
from gpu_node.energy import DeclaredMeter, Meter
from gpu_node.identity import Hashes
from gpu_node.library import Library
from gpu_node.probe import Kernels

CARDS = Path(__file__).parents[3] / "manifests" / "cards"


@dataclass(frozen=True)
class OldCard:
    """A Pascal card under a torch that has no kernels for it."""

    device: str = "cuda:0"
    environment: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1

    def card(self) -> Card:
        return load_card(CARDS / "gtx-1070.yaml")

    def meter(self) -> Meter:
        return DeclaredMeter(None)

    def kernels(self) -> Kernels:
        return Kernels(torch="2.13.0+cu130", archs=("sm_75", "sm_90"), check="", problem="no kernel image")


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(load_catalog(), (tmp_path,), Hashes(tmp_path / "hashes.json"))


def test_a_card_that_this_torch_cannot_use_is_told_which_torch_can(library: Library) -> None:
    findings = {finding.subject: finding for finding in examine(OldCard(), library, None)}

    assert not findings["torch"].good
    assert "sm_75, sm_90" in findings["torch"].sentence
    assert "CUDA 12.6" in findings["torch"].sentence
    assert "compute capability 6.1" in findings["card"].sentence


def test_a_model_whose_files_are_not_the_catalogs_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "stabilityai" / "stable-diffusion-xl-base-1.0"
    folder.mkdir(parents=True)
    catalog = load_catalog()
    wrong = replace(catalog.models["sdxl"], identity="sha256:" + "0" * 64)
    library = Library(replace(catalog, models={"sdxl": wrong}), (tmp_path,), Hashes(tmp_path / "hashes.json"))

    model = next(finding for finding in examine(OldCard(), library, None) if finding.subject == "model")

    assert not model.good
    assert "sdxl" in model.sentence


def test_a_farm_that_does_not_answer_is_named(library: Library) -> None:
    coordinator = Coordinator("http://127.0.0.1:9", "")
    farm = list(examine(OldCard(), library, coordinator))[-1]
    coordinator.close()

    assert (farm.subject, farm.good) == ("farm", False)
    assert "http://127.0.0.1:9 does not answer" in farm.sentence


def test_the_command_exits_by_what_it_found(tmp_path: Path) -> None:
    arguments = ["doctor", "--card", str(CARDS / "gtx-1070.yaml"), "--home", str(tmp_path)]

    good = CliRunner().invoke(app, arguments)
    bad = CliRunner().invoke(app, [*arguments, "--farm", "http://127.0.0.1:9"])

    assert good.exit_code == 0, good.output
    assert "vram08" in good.output
    assert bad.exit_code == 1
    assert "does not answer" in bad.output


def test_a_program_reads_the_findings_as_json(tmp_path: Path) -> None:
    arguments = ["doctor", "--card", str(CARDS / "gtx-1070.yaml"), "--home", str(tmp_path), "--json"]

    run = CliRunner().invoke(app, arguments)

    findings = json.loads(run.stdout)
    assert {"subject", "good", "sentence"} == set(findings[0])
    assert run.exit_code == (0 if all(finding["good"] for finding in findings) else 1)

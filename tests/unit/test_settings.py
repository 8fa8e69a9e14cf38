"""A settings file is read, or what is wrong in it is said at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import InvalidDocument
from common.settings import load_settings


def refusal(file: Path) -> str:
    with pytest.raises(InvalidDocument) as refused:
        load_settings(file)
    assert refused.value.exit_code == 2
    return str(refused.value)


def test_variables_come_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "farm.yaml").write_text("port: 81\nmoney: {currency: CHF, host_watts: 7}\n")
    monkeypatch.setenv("FARM_MONEY__HOST_WATTS", "9")

    found = load_settings(tmp_path / "farm.yaml")

    assert (found.port, found.money.currency, found.money.host_watts) == (81, "CHF", 9)


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "{}"])
def test_a_file_that_sets_nothing_changes_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "farm.yaml").write_text(content)

    assert load_settings(tmp_path / "farm.yaml").model_dump() == load_settings().model_dump()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"port: [", "farm.yaml:1:8: is no YAML: expected the node content"),
        (b"port: 1\n  listen: x", "farm.yaml:2:9: is no YAML: mapping values are not allowed here"),
        (b"listen: !!python/object:os.system {}", "farm.yaml:1:9: is no YAML: could not determine"),
        (b"- port: 1", "farm.yaml: settings are a mapping"),
        (b"port", "farm.yaml: settings are a mapping"),
        (b"\xff\xfe", "farm.yaml: is not UTF-8 text"),
        (b"listen: \x00", "farm.yaml: is no YAML: unacceptable character"),
        (b"port: many", "farm.yaml: port: "),
        (b"prot: 1", "farm.yaml: prot: "),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "farm.yaml").write_bytes(content)

    assert said in refusal(tmp_path / "farm.yaml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.yaml") == f"{tmp_path / 'no.yaml'}: no such settings file"


def test_a_list_in_a_variable_is_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "farm.yaml").touch()
    monkeypatch.setenv("FARM_CATALOGS", "mine.yaml")

    said = refusal(tmp_path / "farm.yaml")

    assert '"catalogs"' in said
    assert "JSON" in said

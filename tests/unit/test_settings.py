"""A settings file is read, or what is wrong in it is said at its place."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from common.catalog import load_catalog
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
        (b"port: 1\nlisten: @x", "farm.yaml:2:9: a value that starts with `@` is read as YAML syntax"),
        (b"port: 1\n  listen: x", "farm.yaml:2:9: is not valid YAML: mapping values are not allowed"),
        (b"listen: !!python/object:os.system {}", "farm.yaml:1:9: listen: tags such as"),
        (b"- port: 1", "farm.yaml:1:1: settings must be a mapping of names to values, such as `port: 8080`"),
        (b"port", "farm.yaml:1:1: settings must be a mapping"),
        (b"\xff\xfe", "farm.yaml:1:1: is not UTF-8 text"),
        (b"listen: \x00", "farm.yaml:1:1: contains the control character 0x00; remove it"),
        (b"port: 1\nport: 2", "farm.yaml:2:1: port: `port` is given twice, first on line 1; keep one"),
        (b"port: many", "farm.yaml:1:7: port: must be a whole number"),
        (b"port: 65536", "farm.yaml:1:7: port: must be less than or equal to 65535"),
        (b"instance: 12e5", "farm.yaml:1:11: instance: must be text; put it in quotes"),
        (b"money:\n  host_watts: .inf", "farm.yaml:2:15: money.host_watts: must be a finite number"),
        (b"timing:\nport: 1", "farm.yaml:1:8: timing: must be a mapping"),
        (b"catalogs: mine.yaml", "farm.yaml:1:11: catalogs: must be a list"),
        (b"nodes:\n- lanes: [public]", "farm.yaml:2:3: nodes[0].name: is missing"),
        (b"prot: 1", "prot: unknown key: did you mean `port`?"),
        (b"money: {curency: CHF}", "money.curency: unknown key: did you mean `currency`?"),
        # A wrong secret is not repeated.
        (b"keys: {operator: 123456}", "keys.operator: must be text"),
        (b"nodes: [{name: a, crad: x}]", "nodes[0].crad: unknown key: did you mean `card`?"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "farm.yaml").write_bytes(content)

    told = refusal(tmp_path / "farm.yaml")

    assert said in told
    assert "123456" not in told


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("FARM_PORT=many", "environment: FARM_PORT: must be a whole number"),
        ("FARM_MONEY__HOST_WATTS=-1", "environment: FARM_MONEY__HOST_WATTS: must be greater than"),
        ("FARM_MONEY__CURENCY=CHF", "FARM_MONEY__CURENCY: unknown key: did you mean `currency`?"),
        ('FARM_NODES=[{"card": "x"}]', "environment: FARM_NODES[0].name: is missing"),
        # A list in a variable is JSON.
        ("FARM_CATALOGS=mine.yaml", "JSON"),
    ],
)
def test_a_wrong_variable_is_named_and_the_sound_file_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, said: str
) -> None:
    (tmp_path / "farm.yaml").write_text("port: 81\nmoney: {currency: CHF}\n")
    monkeypatch.setenv(*variable.split("=", 1))

    assert said in refusal(tmp_path / "farm.yaml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for load, name in ((load_settings, "no.yaml"), (lambda file: load_catalog([file]), "none.yaml")):
        with pytest.raises(InvalidDocument, match=name):
            load(tmp_path / name)


def test_all_that_is_wrong_is_said_from_the_top_down(tmp_path: Path) -> None:
    (tmp_path / "farm.yaml").write_text("prot: 1\nmoney: {host_watts: -1}\nport: many\n")

    lines = refusal(tmp_path / "farm.yaml").splitlines()

    assert [line.split(":")[1] for line in lines] == ["1", "2", "3"]


@pytest.mark.parametrize("word", ["no", "on", "9:16", "2026-11-20"])
def test_a_word_is_a_word(tmp_path: Path, word: str) -> None:
    (tmp_path / "farm.yaml").write_text(f"instance: {word}\n")

    assert load_settings(tmp_path / "farm.yaml").instance == word


def test_a_table_of_the_file_is_filled_up_by_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "farm.yaml").write_text("money: {card_per_hour: {8: 0.1, 12: 0.2}}\n")
    monkeypatch.setenv("FARM_MONEY__CARD_PER_HOUR", '{"8": 0.3, "24": 0.4}')

    assert load_settings(tmp_path / "farm.yaml").money.card_per_hour == {
        8: Decimal("0.3"),
        12: Decimal("0.2"),
        24: Decimal("0.4"),
    }

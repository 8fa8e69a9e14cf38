"""What tests ask about a farm on threads does not depend on what other tests do to this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from common.settings import EmbeddedNode, Keys, Settings, load_settings
from coordinator.embedded.farm import settings_yaml
from tests.e2e.farmhouse import Farmhouse


def test_the_settings_in_force_are_those_of_the_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".farm" / "farm.yaml"
    file.parent.mkdir()
    keys = Keys(operator=SecretStr("12e5"))
    file.write_text(settings_yaml(Settings(home=tmp_path, keys=keys, nodes=(EmbeddedNode(name="n1"),))))
    in_force = load_settings(file)
    monkeypatch.setenv("FARM_PORT", "no number")
    assert Farmhouse(tmp_path).settings() == in_force

"""`farm random`: a picture of the demo model without a manifest."""

from __future__ import annotations

import json

import pytest
import yaml
from PIL import Image

from tests.e2e.conftest import CARDS
from tests.e2e.farmhouse import Farmhouse

pytestmark = pytest.mark.slow


def test_one_command_makes_a_picture_and_its_manifest(house: Farmhouse) -> None:
    node = {"name": "mine", "card": str(CARDS / "gtx-1070.yaml")}
    (house.folder / "farm.yaml").write_text(yaml.safe_dump({"nodes": [node]}))

    rendered = json.loads(house.farm("random", "--seed", "7", "--out", "pictures", "--json").stdout)

    assert rendered["pulled"] == {"folder": "pictures", "fetched": 1, "kept": 0, "missing": 0}
    (picture,) = (house.folder / "pictures" / "random").glob("*.png")
    with Image.open(picture) as image:
        assert image.size == (128, 128)
        assert len(image.getcolors(128 * 128) or ()) > 100
    again = house.farm("plan", "pictures/random-7.yaml", "--names").stdout
    assert again.strip() == f"random/{picture.stem}"
    assert house.processes() == []

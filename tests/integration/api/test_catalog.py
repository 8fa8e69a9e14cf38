"""A catalog that grows while the farm runs: who is told, what is refused, and what outlives a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from common.catalog import ServedCatalog, build_catalog
from common.messages import Heartbeat, HeartbeatAnswer, NewHoldings
from common.views import CatalogAddition, Submit
from tests.farm import MANIFEST, RunningFarm, ScriptedNode, running_farm
from tests.servers import ValkeyServer

IDENTITY = "sha256:" + "3" * 64


def addition(name: str = "mine", section: str = "models", **entry: Any) -> dict[str, Any]:
    return {"section": section, "name": name, "entry": {"like": "tiny", "identity": IDENTITY, **entry}}


def served(client: httpx.Client) -> ServedCatalog:
    return ServedCatalog.model_validate_json(client.get("/v1/catalog").raise_for_status().content)


def beat(node: ScriptedNode) -> HeartbeatAnswer:
    message = Heartbeat(incarnation=node.joined.incarnation)
    return HeartbeatAnswer.model_validate_json(
        node.post(f"/v1/nodes/{node.joined.node_id}/beats", message).content
    )


def submit(client: httpx.Client, model: str) -> httpx.Response:
    manifest = MANIFEST.replace("model: tiny", f"model: {model}")
    return client.post("/v1/jobs", json=Submit(manifest=manifest).model_dump())


def test_an_added_model_is_known_everywhere_at_once(
    farm: RunningFarm, operator: httpx.Client, node: ScriptedNode
) -> None:
    before = served(node.http)
    assert beat(node).catalog_version == node.joined.catalog_version == before.version
    assert submit(operator, "mine").status_code == 422

    version = operator.post("/v1/models", json=addition(steps=3)).raise_for_status().json()["version"]

    after = served(node.http)
    assert after.version == version == beat(node).catalog_version != before.version
    assert build_catalog(after).models["mine"].steps == 3
    assert "mine" in {model["name"] for model in operator.get("/v1/models").json()["data"]}
    assert submit(operator, "mine").status_code == 201
    holdings = NewHoldings(incarnation=node.joined.incarnation, models=("mine",))
    node.post(f"/v1/nodes/{node.joined.node_id}/holdings", holdings)
    assert node.lease().model == "mine"


def test_a_removed_model_is_unknown_and_an_entry_of_a_file_counts_again(operator: httpx.Client) -> None:
    before = served(operator)
    operator.post("/v1/models", json=addition("tiny", steps=3)).raise_for_status()
    assert build_catalog(served(operator)).models["tiny"].steps == 3
    operator.delete("/v1/models/tiny").raise_for_status()
    assert served(operator) == before
    assert operator.delete("/v1/models/tiny").status_code == 404


def test_what_was_added_outlives_a_restart(tmp_path: Path, own_valkey: ValkeyServer) -> None:
    with running_farm(tmp_path, own_valkey.url) as farm, farm.client() as client:
        client.post("/v1/models", json=addition()).raise_for_status()
        version = served(client).version
    with running_farm(tmp_path, own_valkey.url) as farm, farm.client("node") as client:
        assert served(client).version == version
        assert "mine" in served(client).models
    # While it does not run, `farm models add` and an editor change the operator's file.
    (tmp_path / "catalog.yaml").write_text("models: {mine: {like: tiny, steps: 5}, own: {like: mine}}")
    with running_farm(tmp_path, own_valkey.url) as farm, farm.client() as client:
        models = served(client).models
        assert (models["mine"].steps, models["own"].steps) == (5, 5)
        client.delete("/v1/models/own").raise_for_status()
        assert "own" not in served(client).models


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (addition(steps="few"), "models.mine:1:"),
        (addition(steps="few"), "models.mine.steps: must be a whole number"),
        (addition(licence="mit"), "unknown key: did you mean `license`?"),
        (addition(license="none"), "unknown license `none`"),
        (addition(like="tinny"), "there is no entry `tinny` above in models"),
        (addition() | {"files": {IDENTITY: 7}}, f"the store has no files of {IDENTITY}"),
    ],
)
def test_a_wrong_entry_is_refused_as_in_a_file_and_changes_nothing(
    quiet_operator: httpx.Client, wrong: dict[str, Any], sentence: str
) -> None:
    before = served(quiet_operator)
    answer = quiet_operator.post("/v1/models", json=wrong)
    assert answer.status_code == 422
    assert sentence in answer.json()["detail"]
    assert served(quiet_operator) == before


def test_an_entry_that_another_needs_stays(operator: httpx.Client) -> None:
    operator.post("/v1/models", json=addition(base="mine")).raise_for_status()
    lora = CatalogAddition(
        section="loras", name="style", entry={"base": "mine", "path": "s.safetensors", "license": "own-work"}
    )
    operator.post("/v1/models", json=lora.model_dump()).raise_for_status()
    answer = operator.delete("/v1/models/mine")
    assert answer.status_code == 422
    assert "no model has the base `mine`" in answer.json()["detail"]
    operator.delete("/v1/models/style", params={"section": "loras"}).raise_for_status()
    operator.delete("/v1/models/mine").raise_for_status()

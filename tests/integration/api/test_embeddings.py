"""Embeddings: a node reads those of its own batch, and stores some if the farm trusts it."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.embeddings import EmbeddedText, embedding_key
from common.messages import (
    EmbeddingsReport,
    EmbeddingsRequest,
    EmbeddingUpload,
    Grants,
    Lease,
    StoredEmbeddings,
)
from common.settings import Embeddings
from common.storage import EMBEDDINGS
from coordinator.embeddings import clear_embeddings
from tests.farm import RunningFarm, ScriptedNode, running_farm
from tests.integration.api.calls import submit
from tests.scrape import refusals
from tests.servers import ValkeyServer

ENCODING = "e" * 64
DATA = b"an embedding"


def keys_of(lease: Lease) -> set[str]:
    prompts = {EmbeddedText(shot.spec["prompt"]) for shot in lease.shots}
    # The default guidance uses a negative text.
    return {embedding_key(ENCODING, "", text) for text in prompts | {EmbeddedText("", negative=True)}}


def found(node: ScriptedNode, lease: Lease) -> StoredEmbeddings:
    request = EmbeddingsRequest(token=lease.token, encoding=ENCODING)
    answer = node.post(f"/v1/batches/{lease.batch_id}/embeddings", request)
    return StoredEmbeddings.model_validate_json(answer.content)


def report(lease: Lease, *keys: str, **more: Any) -> EmbeddingsReport:
    sha256 = hashlib.sha256(DATA).hexdigest()
    uploads = tuple(EmbeddingUpload(key=key, sha256=sha256, size=len(DATA)) for key in keys)
    return EmbeddingsReport(token=lease.token, encoding=ENCODING, uploads=uploads, **more)


def say(node: ScriptedNode, lease: Lease, message: EmbeddingsReport) -> httpx.Response:
    path = f"/v1/batches/{lease.batch_id}/embeddings/reports"
    return node.http.post(path, json=message.model_dump(mode="json"))


def store(node: ScriptedNode, lease: Lease, *keys: str, **more: Any) -> list[httpx.Response]:
    answer = say(node, lease, report(lease, *keys, **more)).raise_for_status()
    grants = Grants.model_validate_json(answer.content).grants
    return [httpx.put(grant.url, content=DATA, headers=grant.headers, trust_env=False) for grant in grants]


def test_a_node_reads_and_stores_the_embeddings_of_its_batch_and_no_others(
    farm: RunningFarm, node: ScriptedNode, lease: Lease
):
    answer = found(node, lease)
    assert answer.urls.keys() == keys_of(lease)
    assert answer.takes
    key = min(answer.urls)
    assert httpx.get(answer.urls[key], trust_env=False).status_code == 404

    (stored,) = store(node, lease, key)
    assert stored.status_code == 201
    assert httpx.get(answer.urls[key], trust_env=False).content == DATA
    with refusals(farm, invalid=1):
        answered = say(node, lease, report(lease, "0" * 64))
    assert (answered.status_code, "is of no text of batch" in answered.json()["detail"]) == (422, True)


def test_the_first_to_store_an_embedding_wins_until_it_is_reported_useless(
    farm: RunningFarm, node: ScriptedNode, lease: Lease
):
    key = min(keys_of(lease))
    store(node, lease, key)
    (again,) = store(node, lease, key)
    assert again.status_code == 412
    (replaced,) = store(node, lease, key, useless=(key,))
    assert replaced.status_code == 201


def test_a_lease_is_needed(farm: RunningFarm, node: ScriptedNode, lease: Lease):
    stranger = lease.model_copy(update={"token": "0" * 32})
    with refusals(farm, token=1), pytest.raises(httpx.HTTPStatusError, match="410"):
        found(node, stranger)
    node.close(lease)
    with refusals(farm, over=2):
        with pytest.raises(httpx.HTTPStatusError, match="410"):
            found(node, lease)
        assert say(node, lease, report(lease, *keys_of(lease))).status_code == 410


def test_a_volunteer_reads_embeddings_but_stores_none(farm: RunningFarm, operator: httpx.Client):
    with ScriptedNode(farm, name="lent", terms="volunteer") as volunteer:
        submit(operator)
        lease = volunteer.lease()
        answer = found(volunteer, lease)
        assert (answer.urls.keys(), answer.takes) == (keys_of(lease), False)
        with refusals(farm, role=2):
            for message in (report(lease, *keys_of(lease)), report(lease, useless=tuple(keys_of(lease)))):
                assert say(volunteer, lease, message).status_code == 403
        assert say(volunteer, lease, report(lease, fetched=1)).status_code == 201
    assert farm.farm.store.keys(EMBEDDINGS) == []


def test_nothing_is_shared_where_the_settings_say_so(tmp_path: Path, own_valkey: ValkeyServer):
    off = Embeddings(shared=False)
    with (
        running_farm(tmp_path, own_valkey.url, embeddings=off) as farm,
        ScriptedNode(farm) as node,
        farm.client() as operator,
    ):
        submit(operator)
        lease = node.lease()
        assert found(node, lease) == StoredEmbeddings(urls={}, takes=False)
        assert say(node, lease, report(lease, *keys_of(lease))).status_code == 403


def test_embeddings_are_deleted_after_their_time(farm: RunningFarm, node: ScriptedNode, lease: Lease):
    objects, keys = farm.farm.store, sorted(keys_of(lease))
    store(node, lease, *keys)
    objects.create("images/other", b"x", content_type="image/png", metadata={})
    now = time.time()
    assert clear_embeddings(objects, farm.farm.ledger, now=now + 3590, keep_hours=1) == 0
    assert clear_embeddings(objects, farm.farm.ledger, now=now + 3700, keep_hours=1) == len(keys)
    assert objects.keys(EMBEDDINGS) == []
    assert objects.head("images/other") is not None

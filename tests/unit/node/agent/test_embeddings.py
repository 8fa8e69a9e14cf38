"""Embeddings arrive, or their texts are encoded: whatever fails is told by reason, and fails nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.embeddings import EmbeddedText, embedding_key
from common.messages import TextAhead
from gpu_node.agent import embeddings
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.embeddings import BatchEmbeddings, text_encoding
from gpu_node.agent.progress import Progress
from gpu_node.energy import DeclaredMeter
from gpu_node.probe import installed_versions
from gpu_node.protocol import Encoded, EngineLora, Load
from tests.engine_talk import load_command, shot
from tests.node_worker import lease
from tests.scripted_farm import ScriptedFarm, running_farm
from tests.unit.test_embeddings import file_of

IDENTITY = "sha256:" + "1" * 64
LOAD = load_command(Path("model"), identity=IDENTITY)
TEXTS = [EmbeddedText(f"text {number}") for number in range(40)]


def key(text: EmbeddedText) -> str:
    encoding = text_encoding(LOAD, installed_versions())
    assert encoding is not None
    return embedding_key(encoding.key, "", text)


@dataclass
class Bench:
    farm: ScriptedFarm
    folder: Path
    shared: BatchEmbeddings
    load: Load = field(default=LOAD)

    def fetch(self, known: frozenset[EmbeddedText] = frozenset()) -> dict[EmbeddedText, Path]:
        self.shared.fetch(self.load, TEXTS, installed_versions(), "", known=known)
        return self.shared.files()

    def store(self, *texts: EmbeddedText) -> None:
        """Have their embeddings in the store."""
        for text in texts:
            self.farm.stored[f"embeddings/{key(text)}"] = file_of(key(text))

    def encode(self, files: dict[EmbeddedText, Path]) -> None:
        """Write what has not arrived, as an engine does, and tell the farm."""
        missing = [file for file in files.values() if not file.exists()]
        for file in missing:
            file.write_bytes(file_of(file.stem))
        self.shared.encoded(Encoded(encoded=len(missing)))
        self.shared.finish()

    def told(self) -> dict[str, Any]:
        """By the first report, which all others follow."""
        report = self.farm.embedding_reports[0]
        return report.model_dump(include={"fetched", "encoded", "fallbacks"})


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with running_farm(ScriptedFarm(embedding_keys=[key(text) for text in TEXTS])) as farm:
        coordinator = Coordinator(farm.url, "key")
        batch = Progress(DeclaredMeter(1.0), lambda: None).take(lease(shot()))
        with httpx.Client(trust_env=False) as store:
            yield Bench(farm, tmp_path, BatchEmbeddings(coordinator, store, batch, tmp_path))
        coordinator.close()


def test_what_is_stored_arrives_and_what_is_encoded_is_stored(bench: Bench) -> None:
    bench.store(*TEXTS[:25])

    files = bench.fetch()

    assert files.keys() == set(TEXTS)
    assert [text for text in TEXTS if files[text].exists()] == TEXTS[:25]
    bench.encode(files)
    assert bench.told() == {"fetched": 25, "encoded": 15, "fallbacks": {"missing": 15}}
    assert {f"embeddings/{key(text)}" for text in TEXTS} == bench.farm.stored.keys()
    assert [report.complete for report in bench.farm.embedding_reports] == [False, True]
    assert len(bench.farm.embeddings) == 1


def test_damaged_embeddings_are_encoded_again_and_replaced(bench: Bench) -> None:
    bench.store(*TEXTS)
    place = f"embeddings/{key(TEXTS[3])}"
    for damaged in (file_of(key(TEXTS[3]))[:-1], file_of(key(TEXTS[4])), b"", b"<html>"):
        bench.farm.stored[place] = damaged
        bench.farm.embedding_reports.clear()
        for file in bench.folder.iterdir():
            file.unlink()

        bench.shared._storing = None
        bench.shared._over = threading.Event()
        bench.encode(bench.fetch())

        assert bench.told() == {"fetched": 39, "encoded": 1, "fallbacks": {"damaged": 1}}
        assert bench.farm.stored[place] == file_of(key(TEXTS[3]))


def test_an_embedding_that_does_not_fit_is_replaced(bench: Bench) -> None:
    bench.store(*TEXTS)
    files = bench.fetch()

    bench.shared.encoded(Encoded(encoded=1, unfit={files[TEXTS[0]]: "its shape is another"}))
    bench.shared.finish()

    assert bench.told() == {"fetched": 39, "encoded": 1, "fallbacks": {"unfit": 1}}
    assert bench.farm.embedding_reports[0].useless == (key(TEXTS[0]),)


def test_a_store_that_refuses_is_no_trouble(bench: Bench) -> None:
    bench.store(*TEXTS)
    bench.farm.refusals["get"].extend([500, 503, 403])

    files = bench.fetch()

    bench.encode(files)
    assert bench.told() == {"fetched": 37, "encoded": 3, "fallbacks": {"unavailable": 3}}


def test_a_store_that_takes_nothing_is_asked_once_or_little_more(bench: Bench) -> None:
    bench.farm.refusals["put"].extend([500] * 40)

    bench.encode(bench.fetch())

    assert bench.told()["encoded"] == 40
    assert len(bench.farm.refusals["put"]) > 20


def test_a_batch_that_the_store_has_whole_is_told_as_such(bench: Bench) -> None:
    bench.store(*TEXTS)
    bench.encode(bench.fetch())
    assert [report.complete for report in bench.farm.embedding_reports] == [True]


def test_a_batch_of_which_the_store_does_not_take_a_text_is_not_complete(bench: Bench) -> None:
    bench.farm.refusals["put"].append(500)
    bench.encode(bench.fetch())
    assert not any(report.complete for report in bench.farm.embedding_reports)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_batch_is_complete_if_the_store_also_has_what_the_engine_knew(bench: Bench, lost: int) -> None:
    bench.store(*TEXTS[lost:20])
    files = bench.fetch(frozenset(TEXTS[:10]))
    for text in TEXTS[20:]:
        files[text].write_bytes(file_of(key(text)))
    bench.shared.encoded(Encoded(encoded=20))
    bench.shared.finish()
    assert bench.told() == {"fetched": 20 - lost, "encoded": 20, "fallbacks": {"missing": 20}}
    assert any(report.complete for report in bench.farm.embedding_reports) == (not lost)


def test_nothing_is_fetched_for_an_engine_that_knows_all(bench: Bench) -> None:
    assert bench.fetch(frozenset(TEXTS)) == {}
    assert bench.farm.embeddings == []


@pytest.mark.parametrize("written", [0, 2, 3])
def test_what_is_encoded_ahead_is_stored_and_told_after_the_batch(bench: Bench, written: int) -> None:
    further = [EmbeddedText(f"further {number}") for number in range(3)]
    bench.farm.texts_ahead = [TextAhead(key=key(text), text=text.text) for text in further]
    files = bench.fetch()
    ahead = bench.shared.ahead()
    assert [*ahead] == further
    for file in [*ahead.values()][:written]:
        file.write_bytes(file_of(file.stem))
    bench.encode(files)
    keys = {key(text) for text in further[:written]}
    assert {f"embeddings/{one}" for one in keys} <= bench.farm.stored.keys()
    last = bench.farm.embedding_reports[-1]
    assert ({*last.ahead}, last.complete) == (keys, not written)


def test_what_is_encoded_ahead_counts_only_with_the_texts_of_the_batch(bench: Bench) -> None:
    further = EmbeddedText("further")
    bench.farm.texts_ahead = [TextAhead(key=key(further), text=further.text)]
    files = bench.fetch()
    for file in bench.shared.ahead().values():
        file.write_bytes(file_of(file.stem))
    bench.farm.refusals["put"].append(500)
    bench.encode(files)
    assert not any(report.ahead for report in bench.farm.embedding_reports)


def test_the_farm_hears_which_embeddings_a_node_without_an_encoder_lacks(bench: Bench) -> None:
    bench.store(*TEXTS[5:])
    bench.fetch()
    assert bench.shared.lacking() == 5
    assert bench.told() == {"fetched": 0, "encoded": 0, "fallbacks": {"missing": 5}}


def test_a_node_without_an_encoder_that_lacks_nothing_tells_nothing(bench: Bench) -> None:
    bench.store(*TEXTS)
    bench.fetch()
    assert bench.shared.lacking() == 0
    assert bench.farm.embedding_reports == []


def test_a_store_that_hangs_holds_a_batch_up_for_a_moment_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "_STALL_S", 0.3)
    asked, answered = threading.Event(), threading.Event()

    def hangs(kind: str, message: object) -> int | None:
        if kind == "get":
            asked.set()
            answered.wait()
        return None

    bench.store(*TEXTS)
    monkeypatch.setattr(bench.farm, "said", hangs)
    files = bench.fetch()

    assert asked.is_set()
    assert not any(file.exists() for file in files.values())
    answered.set()
    bench.shared._fetching.join()


@pytest.mark.parametrize("status", [404, 500, 503, 410])
def test_a_coordinator_that_refuses_is_no_trouble(bench: Bench, status: int) -> None:
    bench.store(*TEXTS)
    bench.farm.refusals["embeddings"].append(status)

    files = bench.fetch()

    assert not any(file.exists() for file in files.values())
    bench.shared.encoded(Encoded(encoded=40))
    bench.shared.finish()
    assert not any(report.uploads for report in bench.farm.embedding_reports)


def test_a_farm_that_shares_none_hears_no_more_of_them(bench: Bench) -> None:
    bench.farm.embedding_keys = []

    assert bench.fetch() == {}
    bench.encode({})
    assert bench.farm.embedding_reports == []


def test_a_model_whose_files_nobody_vouches_for_shares_none(bench: Bench) -> None:
    bench.load = load_command(Path("model"))

    assert bench.fetch() == {}
    assert bench.farm.embeddings == []


def test_every_field_of_a_load_command_decides_embeddings_or_does_not() -> None:
    decide = {"identity", "pipeline", "max_tokens", "tokenizer", "compute_dtype", "weights", "loras"}
    # Where files are, what only the denoiser sees, and which texts are needed, which keys tell apart.
    do_not = {"command", "model", "folder", "guided_above", "recipe", "quantisation", "gguf", "placement"}
    do_not |= {"upscaler"}

    assert Load.model_fields.keys() == decide | do_not


def test_loras_count_only_where_they_may_change_a_text_encoder(tmp_path: Path) -> None:
    def encoding(name: str, identity: str | None = IDENTITY) -> str | None:
        file = tmp_path / "lora.safetensors"
        file.write_bytes(file_of("", name=name))
        lora = EngineLora(name="style", file=file, identity=identity, weight=0.8)
        load = load_command(tmp_path, identity=IDENTITY, loras=(lora,))
        found = text_encoding(load, installed_versions())
        return found and found.key

    denoiser, encoder = "unet.x.lora_A.weight", "text_encoder.x.lora_A.weight"
    assert encoding(denoiser) != encoding(encoder)
    assert encoding(encoder, None) is None
    assert encoding(denoiser, None) == encoding(denoiser)

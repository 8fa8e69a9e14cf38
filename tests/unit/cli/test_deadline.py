"""`farm plan --farm` and `--by`: when a running farm would be done, and what would make it in time."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import pytest

from common.cards import REFERENCE_CARDS
from common.catalog import Catalog, load_catalog
from common.embeddings import Embedded, texts_key
from common.errors import Invalid
from common.fit import encoding_of
from common.key_messages import KeyView
from common.messages import CardFacts
from common.settings import Settings
from common.units import GIB
from common.views import BacklogView, NodeView, StoredShots, WaitingJob, WaitingLine
from coordinator.cli.deadline import deadline_at, deadline_words, done_words
from coordinator.cli.planning import read_manifest
from coordinator.simulate.deadline import AddedCards, Deadline, DoneForecast
from coordinator.simulate.fleet import named_card
from coordinator.submission.forecast import with_forecast
from coordinator.submission.plan import make_plan
from tests.unit.cli.conftest import Farm

NOON = datetime(2026, 11, 30, 12, 0).timestamp()
MANIFEST = """
version: 1
shots:
- {name: a, model: z-image-turbo, prompt: "a {colour} mug", axes: {colour: [red, blue]}, seeds: 10}
"""


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ("18:00", datetime(2026, 11, 30, 18, 0)),
        ("9:30", datetime(2026, 12, 1, 9, 30)),
        ("12:00", datetime(2026, 12, 1, 12, 0)),
        ("2026-12-02 07:00", datetime(2026, 12, 2, 7, 0)),
        ("2026-12-02T07:00", datetime(2026, 12, 2, 7, 0)),
    ],
)
def test_a_deadline_is_the_next_such_time_or_the_one_of_its_date(given: str, at: datetime) -> None:
    assert deadline_at(given, NOON) == at.timestamp()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("noon", "write a time such as 18:00"),
        ("25:00", "write a time such as 18:00"),
        ("", "write a time such as 18:00"),
        ("2026-13-01 10:00", "write a time such as 18:00"),
        ("2026-11-29 10:00", "this time has passed"),
    ],
)
def test_what_is_no_time_to_come_is_refused(given: str, said: str) -> None:
    with pytest.raises(Invalid, match=f"--by {given}: {said}"):
        deadline_at(given, NOON)


def test_a_forecast_says_when_and_how_much_of_it_is_waiting() -> None:
    at = datetime(2026, 11, 30, 14, 20).timestamp()
    assert done_words(DoneForecast(done_at=at, seconds=8400, waits_s=0.2)) == "about 14:20"
    words = done_words(DoneForecast(done_at=at, seconds=8400, waits_s=2400))
    assert words == "about 14:20; 40 min 00 s of it wait for other jobs"
    later = datetime(2026, 12, 2, 7, 0).timestamp()
    assert (
        done_words(DoneForecast(done_at=later, seconds=later - NOON, waits_s=0)) == "about 2026-12-02 07:00"
    )


@pytest.mark.parametrize(
    ("spare_s", "addition", "words"),
    [
        (7200, None, "in time, with 2 h 00 min to spare"),
        (
            -600,
            AddedCards(card="RTX 3060", cards=2, per_hour=0.04),
            "too late by 10 min 00 s; in time with 2 × RTX 3060 more (0.0400 EUR per hour)",
        ),
        (-600, None, "too late by 10 min 00 s, and no number of cards of one kind would help"),
    ],
)
def test_a_deadline_says_whether_it_is_met_and_what_would_help(
    spare_s: float, addition: AddedCards | None, words: str
) -> None:
    deadline = Deadline(at=NOON, in_time=spare_s >= 0, spare_s=spare_s, addition=addition)
    assert deadline_words(DoneForecast(done_at=0, seconds=0, waits_s=0, deadline=deadline), "EUR") == words


class _Client:
    """A farm with one RTX 3060, a job of higher priority and some stored images."""

    def __init__(self, images: set[str], texts: Mapping[str, Embedded] = MappingProxyType({})) -> None:
        self.images, self.texts = images, texts

    def __enter__(self) -> _Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def catalog(self) -> Catalog:
        return load_catalog()

    def whoami(self) -> KeyView:
        return KeyView(name="operator", id="", owner="", scopes=("admin",), lanes=None, max_priority=100)

    def nodes(self) -> list[NodeView]:
        facts = CardFacts(**asdict(REFERENCE_CARDS[12]))
        return [
            NodeView(
                id="desk",
                name="desk",
                owner="ana",
                lanes=("public",),
                card=facts.name,
                facts=facts,
                terms="owned",
                vram_class=12,
                state="ready",
                models=("z-image-turbo",),
                seen_at=0.0,
            )
        ]

    def stored(self, ids: Sequence[str], texts: Sequence[str]) -> StoredShots:
        known = {key: self.texts[key] for key in texts if key in self.texts}
        return StoredShots(ids=tuple(self.images & set(ids)), texts=known)

    def backlog(self) -> BacklogView:
        job = WaitingJob(id="j", owner="ben", lane="public", priority=90, submitted_at=0.0, service_s=0.0)
        line = WaitingLine(
            job_id="j",
            images=20,
            min_class=12,
            model="z-image-turbo",
            width=1024,
            height=1024,
            steps=8,
            guidance=0.0,
            sampler="euler",
        )
        return BacklogView(jobs=(job,), waiting=(line,))


@pytest.fixture
def images() -> set[str]:
    """What the farm has stored."""
    return set()


@pytest.fixture
def at_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: set[str]) -> Path:
    monkeypatch.setattr("coordinator.cli.plan.connect", lambda _: _Client(images))
    path = tmp_path / "mugs.yaml"
    path.write_text(MANIFEST)
    return path


def test_a_plan_for_a_farm_at_work_includes_what_waits_there(farm: Farm, at_work: Path) -> None:
    report = json.loads(farm("plan", at_work, "--farm", "--json").out)
    forecast, plan = report["forecast"], report["plan"]
    assert plan["seconds"] == {"low": forecast["seconds"], "high": forecast["seconds"]}
    # As many images of the other job go first.
    assert forecast["waits_s"] == pytest.approx(forecast["seconds"] / 2, rel=0.15)
    assert forecast["deadline"] is None
    ran = farm("plan", at_work, "--farm")
    assert "\ndone " in ran.out
    assert "of it wait for other jobs" in ran.out


def test_stored_images_take_no_time_in_a_forecast(farm: Farm, at_work: Path, images: set[str]) -> None:
    every = json.loads(farm("plan", at_work, "--farm", "--json").out)["forecast"]
    ids = [planned.id for planned in make_plan(read_manifest(str(at_work), Settings())).expansion]
    images.update(ids[:15])
    report = json.loads(farm("plan", at_work, "--farm", "--json").out)
    forecast = report["forecast"]
    assert forecast["stored"] == 15
    own_s, all_s = (one["seconds"] - one["waits_s"] for one in (forecast, every))
    assert own_s == pytest.approx(all_s / 4, rel=0.3)
    assert "; 15 images stored already" in farm("plan", at_work, "--farm").out

    images.update(ids)
    ran = farm("plan", at_work, "--farm")
    assert ran.code == 0
    assert re.search("done +at once: every image is stored already", ran.out)
    assert json.loads(farm("plan", at_work, "--farm", "--json").out)["plan"]["cost"]["high"] == 0


def test_a_plan_whose_forecast_takes_too_long_keeps_its_simple_time_and_says_so(at_work: Path) -> None:
    planned = make_plan(read_manifest(str(at_work), Settings()))
    client: Any = _Client(set())
    plain = with_forecast(planned, client, client.nodes(), Settings(), owner="ana", within_s=0)
    assert plain.report.plan == planned.report.plan
    assert plain.report.forecast is None
    assert plain.report.no_forecast.startswith("simulating 20 images takes more than 0 s")
    within = with_forecast(planned, client, client.nodes(), Settings(), owner="ana", within_s=60)
    assert within.report.forecast


def test_a_forecast_contains_the_time_in_which_nodes_fetch_a_model_but_not_its_cost(at_work: Path) -> None:
    planned = make_plan(read_manifest(str(at_work), Settings()))
    client: Any = _Client(set())
    here = client.nodes()
    there = [here[0].model_copy(update={"fetch_s": {"z-image-turbo": 500.0, "sdxl": 900.0}})]
    first, later = (
        with_forecast(planned, client, nodes, Settings(), owner="ana").report for nodes in (here, there)
    )
    assert first.forecast
    assert later.forecast
    assert later.forecast.seconds == pytest.approx(first.forecast.seconds + 500, abs=5)
    assert later.plan.cost
    assert first.plan.cost
    assert float(later.plan.cost.low) == pytest.approx(float(first.plan.cost.low))


def test_nodes_without_a_text_encoder_take_what_is_embedded_in_a_forecast(at_work: Path) -> None:
    planned = make_plan(read_manifest(str(at_work), Settings()))
    turbo = load_catalog().models["z-image-turbo"]
    # Volunteers store no embeddings.
    (desk,) = (node.model_copy(update={"terms": "volunteer"}) for node in _Client(set()).nodes())
    card = replace(named_card("rtx-4060"), ram_bytes=6 * GIB)
    little = desk.model_copy(
        update={"id": "little", "name": "little", "vram_class": 8, "facts": CardFacts(**asdict(card))}
    )
    embedded = Embedded(encoding_of(turbo.recipe("gguf-q4-fp32")), {})
    texts = {texts_key(one.shot, None): embedded for one in planned.expansion}
    assert len(texts) == 2
    seconds = []
    for known in ({}, dict(list(texts.items())[:1]), texts):
        client: Any = _Client(set(), known)
        report = with_forecast(planned, client, [desk, little], Settings(), owner="ana").report
        assert report.forecast
        seconds.append(report.forecast.seconds - report.forecast.waits_s)
    assert seconds[0] > seconds[1] >= seconds[2] - 1.0


def test_a_plan_for_a_farm_whose_times_nothing_tells_says_so(
    farm: Farm, at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_: object) -> Catalog:
        model = load_catalog().models["z-image-turbo"]
        return replace(load_catalog(), models={"z-image-turbo": replace(model, speeds=())})

    monkeypatch.setattr(_Client, "catalog", unknown)
    report = json.loads(farm("plan", at_work, "--farm", "--json").out)
    assert report["forecast"] is None
    assert report["no_forecast"].startswith("nothing tells how long z-image-turbo takes on RTX 3060")


def test_a_plan_with_a_deadline_says_whether_the_farm_makes_it(farm: Farm, at_work: Path) -> None:
    tomorrow = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + 86400))
    ran = farm("plan", at_work, "--by", tomorrow)
    assert ran.code == 0, ran.err
    assert "\ndeadline  in time, with " in ran.out
    soon = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() + 600))
    deadline = json.loads(farm("plan", at_work, "--by", soon, "--json").out)["forecast"]["deadline"]
    assert not deadline["in_time"]
    assert deadline["spare_s"] < 0
    assert deadline["addition"]["cards"] >= 1

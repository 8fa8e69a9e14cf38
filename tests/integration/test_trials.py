"""A node with nothing to do measures its recipes, and leaves that for work; a new one shows what it is worth.

With a real engine.
"""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from common.catalog import build_catalog, read_entries, with_entry
from common.catalog.identity import folder_identity
from common.errors import Unavailable
from common.nodes import Card
from common.transfers import transfer
from gpu_node.agent import trials as module
from gpu_node.agent.canaries import shipped_canaries
from gpu_node.agent.first_run import FirstRun
from gpu_node.agent.trials import Trials
from gpu_node.measured import MeasuredRecipes
from gpu_node.policy import PauseReason
from tests.engine_talk import shot
from tests.farm import card, until
from tests.node_worker import Worker, lease

CARD = Card(**card(8).model_dump())


def recipe(name: str, transformer: str = "float32", **fields: Any) -> dict[str, Any]:
    weights = {"text_encoder": "float32", "vae": "float32", "transformer": transformer}
    return {"name": name, "compute_dtype": "float32", "backends": ["cpu"], "weights": weights, **fields}


PLAIN, SLICED, FP8 = recipe("fp32"), recipe("sliced", placement=["vae_slicing"]), recipe("fp8", "fp8")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_QUIET_S", 0.1)


class Bench:
    """A worker whose only model is held by `recipes`, and its trials."""

    def __init__(
        self, worker: Worker, model: Path, *recipes: dict[str, Any], size: str = "64x64", **entry: Any
    ) -> None:
        self.worker = worker
        self._entries = read_entries()
        self.add("tiny", model, *recipes, size=size, **entry)
        self.model = worker.context.library.catalog.models["tiny"]

    def add(
        self,
        name: str,
        model: Path,
        *recipes: dict[str, Any],
        size: str = "64x64",
        identity: str | None = None,
    ) -> None:
        entry = {"like": "shotfarm-demo", "path": model.name, "identity": identity, "recipes": list(recipes)}
        self._entries = with_entry(self._entries, "models", name, {**entry, "size": size}, source="test")
        self.worker.context.library.read(build_catalog(self._entries), {})

    def known(self, home: Path) -> MeasuredRecipes:
        return MeasuredRecipes(home, CARD, "")

    def trials(self, home: Path, budget_s: float = 60.0) -> Trials:
        return Trials(self.worker.context, self.worker.progress, CARD, self.known(home), budget_s)

    def paces(self) -> dict[str, float]:
        told = [pace for message in self.worker.farm.measurements for pace in message.paces]
        return {pace.recipe: pace.seconds for pace in told if pace.model == "tiny"}


@pytest.fixture
def bench(worker: Worker, tiny_model: Path) -> Bench:
    return Bench(worker, tiny_model, PLAIN, SLICED, FP8)


def first_run(bench: Bench, home: Path, said: list[str], **changes: Any) -> FirstRun:
    """Of a node whose farm has stored the tiny model."""
    library = bench.worker.context.library
    library.read(library.catalog, {bench.model.identity or "": 1000})
    return FirstRun(bench.worker.context, bench.known(home), transfer, said.append, **changes)


def test_a_new_node_shows_that_it_renders_known_images_and_what_it_is_worth_once(
    worker: Worker, tiny_model: Path, tmp_path: Path
) -> None:
    bench = Bench(worker, tiny_model, PLAIN, identity=folder_identity(tiny_model))
    said: list[str] = []
    first_run(bench, tmp_path, said).run()
    known, worth = said
    assert known == "this card renders 2 known images as it should"
    assert re.fullmatch(
        r"2 test images of tiny, 64×64, took .* s and .* s: this card would render about [\d,]+ an hour",
        worth,
    )
    (measured,) = bench.known(tmp_path).seconds(bench.model).values()
    assert worth.endswith(f" about {float(f'{3600 / measured:.2g}'):,.0f} an hour")
    # The first work finds the model loaded.
    held = worker.context.engine.held
    assert held is not None
    assert held.model == "tiny"
    assert list(worker.context.engine.spool.iterdir()) == []

    said.clear()
    first_run(bench, tmp_path, said).run()
    assert said == []


def test_test_images_wait_for_the_owner(bench: Bench, tmp_path: Path) -> None:
    reason = PauseReason("in use", "blender runs")
    wanted = iter([reason, reason, None])
    said: list[str] = []
    first_run(bench, tmp_path, said, wanted=lambda: next(wanted)).run()
    assert said[0] == "test images wait, since the card is yours now: blender runs"
    assert "took" in said[-1]
    assert next(wanted, "asked to the end") == "asked to the end"


def test_a_card_that_renders_known_images_wrongly_does_not_join(
    worker: Worker, tiny_model: Path, tmp_path: Path
) -> None:
    """Here the known images are not what was asked for."""
    bench = Bench(worker, tiny_model, PLAIN, identity=folder_identity(tiny_model))
    right, other = shipped_canaries().canaries
    changed = other.model_copy(update={"prompt": "a red mug on a blue background"})
    canaries = shipped_canaries().model_copy(update={"canaries": (right, changed)})
    said: list[str] = []
    with pytest.raises(Unavailable, match="renders 1 of 2 known images wrongly"):
        first_run(bench, tmp_path, said, canaries=canaries).run()
    assert said == []


def test_an_idle_node_measures_each_recipe_once_and_tells_the_farm(bench: Bench, tmp_path: Path) -> None:
    farm = bench.worker.farm
    with bench.trials(tmp_path).during(farm.joined()):
        farm.wait_for(lambda: len(bench.paces()) == 3)
    first = bench.paces()
    measured = dict(bench.known(tmp_path).seconds(bench.model))
    # 64×64 pixels, nine steps, two runs a step.
    amount = 64 * 64 / 1e6 * 9 * 2
    assert first == {name: pytest.approx(seconds / amount) for name, seconds in measured.items()}
    assert all(pace.peak_bytes for message in farm.measurements for pace in message.paces)
    assert list(bench.worker.context.engine.spool.iterdir()) == []

    # After a restart it is only told again.
    farm.measurements.clear()
    bench.worker.context.engine.kill()
    with bench.trials(tmp_path).during(farm.joined()):
        farm.wait_for(lambda: len(bench.paces()) == 3)
    assert bench.paces() == first
    assert bench.worker.context.engine.exit_code is not None


def test_what_cannot_be_measured_is_said_once_a_start_in_a_sentence_and_the_rest_is_measured(
    worker: Worker, tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gpu_node")
    bench = Bench(worker, tiny_model, PLAIN)
    broken = shutil.copytree(tiny_model, tmp_path / "broken")
    weights = next((broken / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])
    bench.add("broken", broken, SLICED)
    trials = bench.trials(tmp_path)
    for _ in range(2):
        with trials.during(worker.farm.joined()):
            worker.farm.wait_for(lambda: bench.paces())
            until(lambda: "broken was not measured" in caplog.text)
            until(lambda: not worker.progress.doing)
        worker.farm.measurements.clear()
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    (said,) = [message for message in warnings if message.startswith("broken was not measured by sliced: ")]
    assert "is not a complete safetensors file" in said
    assert "\n" not in said
    # It may be whole at the next start.
    broken_model = worker.context.library.catalog.models["broken"]
    assert not list(bench.known(tmp_path).of(broken_model))


def test_a_pause_ends_a_trial_and_nothing_is_held_against_the_recipe(
    worker: Worker, tiny_model: Path, tmp_path: Path
) -> None:
    bench = Bench(worker, tiny_model, PLAIN, size="2048x2048")
    with bench.trials(tmp_path).during(worker.farm.joined()):
        until(lambda: worker.progress.doing)
        worker.context.engine.suspend()
        until(lambda: not worker.progress.doing)
    worker.context.engine.resume()
    assert bench.known(tmp_path).find(bench.model, bench.model.recipes[0]) is None


def test_work_ends_a_trial_and_begins_at_once(worker: Worker, tiny_model: Path, tmp_path: Path) -> None:
    bench = Bench(worker, tiny_model, PLAIN, SLICED, size="2048x2048")
    trials = bench.trials(tmp_path)
    with trials.during(worker.farm.joined()):
        until(lambda: worker.progress.doing == "measuring tiny by fp32")
        work = lease(shot(seed=1), shot(seed=2))
        with trials.set_aside(work):
            assert worker.progress.doing == ""
            worker.work(work)
    assert [report.outcome for report in worker.farm.reports] == ["delivered"] * 2
    assert bench.paces() == {}
    assert bench.known(tmp_path).find(bench.model, bench.model.recipes[0]) is None


def test_a_trial_that_takes_too_long_ends_and_is_not_tried_again(
    worker: Worker, tiny_model: Path, tmp_path: Path
) -> None:
    bench = Bench(worker, tiny_model, PLAIN, SLICED)
    with bench.trials(tmp_path, budget_s=1e-6).during(worker.farm.joined()):
        until(lambda: bench.known(tmp_path).find(bench.model, bench.model.recipes[0]) is not None)
    found = bench.known(tmp_path).find(bench.model, bench.model.recipes[0])
    assert found is not None
    assert "exceeded the limit" in found.problem
    assert bench.paces() == {}

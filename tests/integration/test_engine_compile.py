"""Denoisers are compiled where it repays: by torch's compiler, in an engine that renders on the CPU."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from PIL import Image

from gpu_node import protocol
from gpu_node.agent import compiling
from gpu_node.agent.compiling import WarmUp
from gpu_node.agent.engine_client import EngineClient
from tests.engine_talk import ask, encode_command, load_command, pixels, render_command, running_engine, shot
from tests.node_worker import Worker, lease
from tests.scripted_farm import ScriptedFarm

SHOT = shot(seed=1)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler says nothing for a quarter of a minute, and for long on a busy machine."""
    monkeypatch.setattr("tests.engine_talk.PATIENCE_S", 500.0)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an engine that nobody else uses: what it compiles, nobody has compiled before."""
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="module")
def engine(home: Path) -> Iterator[EngineClient]:
    with running_engine(home) as client:
        yield client


@pytest.fixture
def plain(engine: EngineClient, tiny_model: Path, tmp_path: Path) -> Path:
    """What the shot shows without compiling; the model is loaded and its prompt encoded."""
    ask(engine, load_command(tiny_model))
    ask(engine, encode_command(SHOT.prompt, ""))
    return Path(shutil.copy(rendered(engine)[1], tmp_path))


def rendered(engine: EngineClient, *, compiled: bool = False) -> tuple[protocol.Done, Path]:
    heard = ask(engine, render_command(SHOT).model_copy(update={"compiled": compiled}))
    (done,) = (event for event in heard if isinstance(event, protocol.Done))
    (image,) = (event for event in heard if isinstance(event, protocol.Image))
    return done, image.file_in(engine.spool)


def programs(home: Path) -> set[Path]:
    """Machine code that the compiler has left in a node's home."""
    return set((home / "compiled").rglob("*.so"))


def test_a_compiled_pass_shows_the_same_and_is_compiled_once(
    engine: EngineClient, plain: Path, home: Path, tmp_path: Path
) -> None:
    first, file = rendered(engine, compiled=True)
    once = Path(shutil.copy(file, tmp_path / "once.png"))
    second, again = rendered(engine, compiled=True)
    after, as_before = rendered(engine)

    assert (first.compiled, second.compiled, after.compiled) == (True, True, False)
    assert first.compile_s > 0
    assert second.compile_s == 0
    assert programs(home)
    assert pixels(again) == pixels(once)
    assert pixels(as_before) == pixels(plain)
    with Image.open(plain) as one, Image.open(once) as other:
        assert abs(numpy.asarray(one).astype(int) - numpy.asarray(other)).max() <= 2


def test_compiled_passes_follow_a_measured_one_and_name_their_recipe(
    worker: Worker, farm: ScriptedFarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "ASSUMED", WarmUp(seconds=0.0))
    farm.stall_render_s = 500.0
    worker.work(lease(*(shot(seed=seed) for seed in (1, 2, 3)), pass_size=1))

    by_place = sorted(farm.reports, key=lambda report: report.fingerprint["recipe"])
    assert [report.fingerprint["recipe"] for report in by_place] == ["fp32", "fp32+compiled", "fp32+compiled"]
    (close,) = farm.closes
    assert 0 < close.compile_s < close.load.seconds["load"]


def test_another_engine_finds_what_was_compiled(
    engine: EngineClient, plain: Path, home: Path, tiny_model: Path
) -> None:
    rendered(engine, compiled=True)
    known = programs(home)
    engine.kill()
    engine.start()
    ask(engine, load_command(tiny_model))
    ask(engine, encode_command(SHOT.prompt, ""))

    assert rendered(engine, compiled=True)[0].compiled
    assert programs(home) == known


def test_without_a_compiler_the_pass_is_rendered_as_it_is(
    plain: Path, tiny_model: Path, tmp_path: Path
) -> None:
    with running_engine(tmp_path, {"CXX": "/nonexistent/c++"}) as bare:
        ask(bare, load_command(tiny_model))
        ask(bare, encode_command(SHOT.prompt, ""))
        done, file = rendered(bare, compiled=True)

    assert not done.compiled
    assert "InvalidCxxCompiler" in done.compile_problem
    assert pixels(file) == pixels(plain)

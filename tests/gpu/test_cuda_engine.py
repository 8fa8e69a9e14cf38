"""The engine on a real card."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy
import pytest
from PIL import Image

from gpu_node import protocol
from gpu_node.agent.engine_client import EngineClient
from gpu_node.probe import NvidiaProbe
from tests.engine_talk import (
    PARKED,
    ask,
    encode_command,
    load_command,
    render,
    render_command,
    resident_and_parked,
    shot,
)
from tests.node_process import Node, outlived, tickets
from tests.node_worker import lease
from tests.scripted_farm import ScriptedFarm, running_farm
from tests.servers import ValkeyServer
from tests.waiting import until

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card and a torch that can use it"),
]

BF16 = {"text_encoder": "bfloat16", "transformer": "bfloat16", "vae": "bfloat16"}
#: The driver takes memory back a moment after its process has ended.
FREED_WITHIN_S = 60


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineClient]:
    client = EngineClient(
        device="cuda:0",
        threads=2,
        home=tmp_path_factory.mktemp("engine"),
        environment=NvidiaProbe().environment,
    )
    client.start()
    yield client
    client.stop()


@pytest.fixture
def farm(valkey_server: ValkeyServer) -> Iterator[ScriptedFarm]:
    with running_farm(ScriptedFarm(broker_url=valkey_server.url)) as farm:
        yield farm


@contextmanager
def running_node(farm: ScriptedFarm, model: Path, folder: Path) -> Iterator[Node]:
    """A node process with the first card, which stays dead when it dies."""
    command = [sys.executable, "-m", "gpu_node.cli", "run", "--farm", farm.url, "--name", "n1"]
    command += ["--models", str(model.parent), "--home", "home"]
    node = Node(command, folder, {})
    try:
        yield node
    finally:
        node.stop(signal.SIGKILL)


def free_bytes() -> int:
    """Of the first card, as any process on it sees."""
    free, _ = torch.cuda.mem_get_info(0)
    return int(free)


def levels(file: Path) -> numpy.ndarray:
    with Image.open(file) as image:
        return numpy.asarray(image).astype(int)


def test_the_card_computes_and_says_what_it_is() -> None:
    probe = NvidiaProbe()

    card = probe.card()
    assert probe.kernels().problem == ""
    assert card.compute_capability == torch.cuda.get_device_capability(0)
    assert 0 < card.usable_bytes <= card.vram_bytes


def test_the_first_order_of_a_fresh_engine_succeeds(tiny_model: Path, tmp_path: Path) -> None:
    engine = EngineClient(device="cuda:0", threads=2, home=tmp_path)
    engine.start()

    heard = ask(engine, load_command(tiny_model))
    engine.stop()

    assert not [event for event in heard if isinstance(event, protocol.Failed)]


def test_a_working_card_draws_power_that_its_meter_counts(engine: EngineClient, tiny_model: Path) -> None:
    meter = NvidiaProbe().meter()
    ask(engine, load_command(tiny_model))
    render(engine, shot(steps=200))

    assert meter.method in ("counter", "sampled")
    assert meter.joules() > 0
    meter.close()


def test_a_card_and_a_cpu_draw_the_same_picture(
    engine: EngineClient, tiny_model: Path, tmp_path: Path
) -> None:
    one = shot(seed=3)
    ask(engine, load_command(tiny_model))
    cpu = EngineClient(device="cpu", threads=2, home=tmp_path)
    cpu.start()
    ask(cpu, load_command(tiny_model))

    difference = abs(levels(render(engine, one)[one.id]) - levels(render(cpu, one)[one.id]))
    cpu.stop()

    assert difference.mean() < 2


def test_a_pass_reports_the_memory_it_took(engine: EngineClient, tiny_model: Path) -> None:
    one = shot()
    ask(engine, load_command(tiny_model, compute_dtype="bfloat16", weights=BF16))
    ask(engine, encode_command(one.prompt))

    done = next(event for event in ask(engine, render_command(one)) if isinstance(event, protocol.Done))

    assert done.peak_bytes is not None
    assert done.peak_bytes > 0


@pytest.mark.parametrize("word", PARKED)
def test_parked_text_encoders_give_nearly_the_same_picture(
    engine: EngineClient, tiny_model: Path, word: str
) -> None:
    resident, parked = resident_and_parked(engine, tiny_model, shot(seed=4), word)

    assert abs(levels(parked) - levels(resident)).mean() < 2


def test_a_pass_too_large_for_the_card_is_out_of_memory_and_the_engine_lives(
    engine: EngineClient, tiny_model: Path
) -> None:
    ask(engine, load_command(tiny_model))
    huge = shot(width=65536, height=65536, steps=1)
    ask(engine, encode_command(huge.prompt))

    failed = ask(engine, render_command(huge))[-1]

    assert isinstance(failed, protocol.Failed)
    assert failed.kind == "out_of_memory"
    assert failed.peak_bytes is not None
    assert "ran out of memory at" in failed.message
    ask(engine, load_command(tiny_model))
    assert render(engine, shot())


def test_a_node_killed_in_a_pass_leaves_no_engine_and_gives_the_cards_memory_back(
    farm: ScriptedFarm, tiny_model: Path, tmp_path: Path
) -> None:
    before = free_bytes()
    farm.leases.append(lease(shot(steps=100_000)))
    with tickets(farm.broker_url) as publish, running_node(farm, tiny_model, tmp_path) as node:
        publish("ticket-1")
        farm.wait_for(lambda: any(beat.steps_done for beat in farm.heartbeats))
        assert free_bytes() < before
        with outlived(node.engine) as gone:
            node.stop(signal.SIGKILL)

            assert gone()
    until(lambda: free_bytes() >= before, within_s=FREED_WITHIN_S)

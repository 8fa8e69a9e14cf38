"""A pass that nobody wants any more ends at its next step, and leaves nothing behind in the pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from common.shot import Shot
from gpu_node import protocol
from gpu_node.agent.engine_client import EngineClient
from tests.engine_talk import (
    ask,
    encode_command,
    load_command,
    next_event,
    render,
    render_command,
    running_engine,
    shot,
)

#: Its pass has both sides of guidance and embeddings that change on the way: all that may be left behind.
ENDLESS = shot(steps=100_000, guidance=4.0, negative="a cup", knobs=(("blind_steps", 2),))
PLAIN = shot(seed=5)


@pytest.fixture
def engine(tmp_path: Path, tiny_model: Path, warm_engines: Mapping[str, str]) -> Iterator[EngineClient]:
    with running_engine(tmp_path, warm_engines) as client:
        assert isinstance(ask(client, load_command(tiny_model))[-1], protocol.Completed)
        yield client


def begin(engine: EngineClient, endless: Shot) -> None:
    """Return in the middle of the shot's pass."""
    ask(engine, encode_command(endless.prompt, "", negatives=(endless.negative,)))
    engine.send(render_command(endless))
    for _ in range(4):
        assert isinstance(next_event(engine), protocol.Step)


def end_of_pass(engine: EngineClient) -> protocol.Event:
    while isinstance(event := next_event(engine), protocol.Step):
        pass
    return event


def test_the_pass_after_an_interrupted_one_equals_a_fresh_one(engine: EngineClient, tiny_model: Path) -> None:
    fresh = render(engine, PLAIN)[PLAIN.id].read_bytes()
    process = engine.pid
    begin(engine, ENDLESS)
    engine.send(protocol.Interrupt())

    ended = end_of_pass(engine)
    after = render(engine, PLAIN)[PLAIN.id].read_bytes()

    assert isinstance(ended, protocol.Failed)
    assert (ended.kind, ended.shot_id) == ("cancelled", None)
    assert after == fresh
    assert (engine.pid, engine.exit_code) == (process, None)


def test_an_interrupt_that_comes_late_spares_the_next_pass(engine: EngineClient) -> None:
    render(engine, PLAIN)
    engine.send(protocol.Interrupt())

    assert render(engine, PLAIN)

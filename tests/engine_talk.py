"""Talking to a real engine from a test."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from common.shot import Shot
from gpu_node import protocol
from gpu_node.agent.engine_client import EngineClient
from tests.waiting import PATIENCE_S


@contextmanager
def running_engine(home: Path, environment: Mapping[str, str] | None = None) -> Iterator[EngineClient]:
    """A real engine that runs inside, on the processor."""
    client = EngineClient(device="cpu", threads=1, home=home, environment=environment)
    client.start()
    try:
        yield client
    finally:
        client.stop()


def ask(engine: EngineClient, command: protocol.Command) -> list[protocol.Event]:
    """Everything the engine says to this command, the images of a pass included."""
    engine.send(command)
    heard: list[protocol.Event] = []
    while not _answered(heard, command):
        heard.append(next_event(engine))
    return heard


def next_event(engine: EngineClient) -> protocol.Event:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        event = engine.event(1.0)
        if event is not None and not isinstance(event, protocol.Ready):
            return event
    raise AssertionError(f"the engine said nothing for {PATIENCE_S} s")


def render(engine: EngineClient, *shots: Shot, compiled: bool = False) -> dict[str, Path]:
    """Files by shot id of one pass; fails the test where a shot failed."""
    clip_skips = dict.fromkeys(int(dict(shot.knobs).get("clip_skip", 0)) for shot in shots)
    prompts = dict.fromkeys([shot.prompt for shot in shots] + [""])
    negatives = dict.fromkeys(shot.negative for shot in shots)
    texts = [
        protocol.EngineText(text=text, negative=is_negative, clip_skip=clip_skip)
        for texts, is_negative in ((prompts, False), (negatives, True))
        for text in texts
        for clip_skip in clip_skips
    ]
    assert isinstance(ask(engine, protocol.Encode(texts=tuple(texts)))[-1], protocol.Encoded)
    heard = ask(engine, render_command(*shots).model_copy(update={"compiled": compiled}))
    assert not [event for event in heard if isinstance(event, protocol.Failed)]
    return {
        event.shot_id: event.file_in(engine.spool) for event in heard if isinstance(event, protocol.Image)
    }


#: Where recipes of small cards keep text encoders while the denoiser works.
PARKED = ("text_encoder_first", "text_encoder_on_cpu")


def rendered(engine: EngineClient, folder: Path, one: Shot, **changes: Any) -> Path:
    """The picture of one shot by a tiny model that is loaded for it; `changes` of its load command."""
    ask(engine, load_command(folder, **changes))
    return render(engine, one)[one.id]


def resident_and_parked(engine: EngineClient, folder: Path, one: Shot, word: str) -> tuple[Path, Path]:
    """The picture of a shot with text encoders that stay on the card, and with such as `word` moves away."""
    resident = rendered(engine, folder, one)
    return resident, rendered(engine, folder, one, placement=(word, "vae_slicing"))


def pixels(file: Path) -> bytes:
    """What a picture shows, without the name of its shot that the file bears."""
    with Image.open(file) as image:
        return image.tobytes()


def encode_command(*prompts: str, negatives: Sequence[str] = ()) -> protocol.Encode:
    texts = [(text, False) for text in prompts] + [(text, True) for text in negatives]
    return protocol.Encode(
        texts=tuple(protocol.EngineText(text=text, negative=is_negative) for text, is_negative in texts)
    )


def render_command(*shots: Shot) -> protocol.Render:
    return protocol.Render(
        shots=tuple(protocol.EngineShot(id=shot.id, spec=shot.to_dict()) for shot in shots)
    )


def load_command(folder: Path, **changes: Any) -> protocol.Load:
    """The command for a tiny Z-Image model in float32 on a CPU."""
    fields: dict[str, Any] = {
        "model": "tiny",
        "folder": folder,
        "identity": None,
        "pipeline": "ZImagePipeline",
        "max_tokens": 256,
        "guided_above": 0.0,
        "recipe": "fp32",
        "compute_dtype": "float32",
        "weights": {"text_encoder": "float32", "transformer": "float32", "vae": "float32"},
        "quantisation": "none",
    }
    return protocol.Load(**(fields | changes))


def engine_lora(file: Path, *, weight: float = 1.0) -> protocol.EngineLora:
    return protocol.EngineLora(name=file.stem, file=file, identity=None, weight=weight)


def shot(**changes: Any) -> Shot:
    fields: dict[str, Any] = {
        "model": "tiny",
        "model_identity": "",
        "prompt": "a red mug",
        "negative": "",
        "seed": 1,
        "width": 64,
        "height": 64,
        "steps": 3,
        "guidance": 0.0,
        "sampler": "euler",
    }
    return Shot(**(fields | changes))


def _answered(heard: list[protocol.Event], command: protocol.Command) -> bool:
    ends = [e for e in heard if isinstance(e, protocol.Completed | protocol.Encoded | protocol.Done)]
    if any(isinstance(event, protocol.Failed) and event.shot_id is None for event in heard):
        return True
    shots = len(command.shots) if isinstance(command, protocol.Render) else 0
    outcomes = [e for e in heard if isinstance(e, protocol.Image | protocol.Failed)]
    return bool(ends) and len(outcomes) == shots

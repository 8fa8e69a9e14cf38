"""An engine that draws where another would diffuse: up in a second, and a process of its own like any.

It speaks the engine's protocol through the engine's own two ends. Told to render a prompt with the deadly
word it is killed; a prompt that is longer than the model reads it refuses. The file that
`QUICK_PROFILE` names may tell what models take, as `{"tiny": {"load_s": 1.5, "image_s": 0.3}}`; each pass
reads it.

An engine that lies draws noise (`QUICK_LIES` is `noise`) or its first picture again (`stale`), and writes the
shots of which it did so to the file that `QUICK_LIES_TOLD` names.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from common.shot import Shot
from gpu_node import protocol
from gpu_node.engine.encode import Saver
from gpu_node.engine.lines import ProtocolStreams

_DEADLY = "basilisk"
_LONGEST = 512
_LOAD_S, _STEP_S = 0.5, 0.05
#: Pixels above which a step takes longer in proportion.
_SMALL = 256 * 256


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--spool", required=True, type=Path)
    arguments, _ = parser.parse_known_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    lines = ProtocolStreams()
    saver = Saver(arguments.spool, lines.emit)
    lines.emit(protocol.Ready())
    while True:
        match lines.commands.get():
            case protocol.Load(model=model):
                _work(_profile(model).get("load_s", _LOAD_S))
                lines.emit(protocol.Completed())
            case protocol.Encode():
                lines.emit(protocol.Encoded())
            case protocol.Render() as command:
                lines.emit(_rendered(command, lines, saver))


def _rendered(command: protocol.Render, lines: ProtocolStreams, saver: Saver) -> protocol.Event:
    shots = [Shot.from_dict(one.spec) for one in command.shots]
    if any(_DEADLY in shot.prompt for shot in shots):
        os.kill(os.getpid(), signal.SIGKILL)
    if any(len(shot.prompt) > _LONGEST for shot in shots):
        message = f"the prompt has more than {_LONGEST} letters"
        return protocol.Failed(kind="prompt_too_long", message=message)
    began, step_s = time.monotonic(), _step_s(shots)
    for done in range(shots[0].steps):
        _work(step_s)
        if lines.interrupted.is_set():
            return protocol.Failed(kind="cancelled", message=f"interrupted after {done + 1} steps")
        lines.emit(protocol.Step(done=done + 1))
    for one, shot in zip(command.shots, shots, strict=True):
        saver.save(one.id, shot, _delivered(one.id, shot))
    return protocol.Done(denoise_s=time.monotonic() - began, decode_s=0.0, peak_bytes=None)


def _step_s(shots: Sequence[Shot]) -> float:
    """Seconds of a step of a pass: in a profile, each image takes its own."""
    first = shots[0]
    image_s = _profile(first.model).get("image_s")
    if image_s is None:
        return _STEP_S * max(1.0, first.width * first.height / _SMALL)
    return image_s * len(shots) / first.steps


def _profile(model: str) -> dict[str, float]:
    path = os.environ.get("QUICK_PROFILE")
    known: dict[str, dict[str, float]] = json.loads(Path(path).read_text()) if path else {}
    return known.get(model, {})


def _delivered(shot_id: str, shot: Shot) -> Image.Image:
    """The picture of a shot, or what this engine delivers instead."""
    if (lie := os.environ.get("QUICK_LIES")) is None:
        return _drawn(shot)
    if lie == "stale":
        first = _first(shot.prompt, shot.seed)
        if first == (shot.prompt, shot.seed):
            return _drawn(shot)
        picture = _drawn(shot._replace(prompt=first[0], seed=first[1]))
    else:
        size = shot.width, shot.height
        picture = Image.frombytes("RGB", size, os.urandom(3 * shot.width * shot.height))
    with Path(os.environ["QUICK_LIES_TOLD"]).open("a") as told:
        told.write(f"{shot_id}\n")
    return picture


_firsts: list[tuple[str, int]] = []


def _first(prompt: str, seed: int) -> tuple[str, int]:
    """What this process drew first."""
    if not _firsts:
        _firsts.append((prompt, seed))
    return _firsts[0]


def _drawn(shot: Shot) -> Image.Image:
    """A picture of its own for every prompt and seed: their hash, a colour for every three bytes of it."""
    hashed = hashlib.sha256(f"{shot.prompt} {shot.seed}".encode()).hexdigest()
    colours = [f"#{hashed[at : at + 6]}" for at in range(0, 60, 6)]
    picture = Image.new("RGB", (shot.width, shot.height))
    draw, step = ImageDraw.Draw(picture), shot.width / len(colours)
    for place, colour in enumerate(colours):
        draw.rectangle((place * step, 0, (place + 1) * step, shot.height), fill=colour)
    return picture


def _work(seconds: float) -> None:
    """Take time, as a card would."""
    threading.Event().wait(seconds)


if __name__ == "__main__":
    main()

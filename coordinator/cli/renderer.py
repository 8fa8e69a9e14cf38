"""The process that renders for `farm render`: of the node's package, which this one does not import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import IO

from pydantic import ValidationError

from common.errors import FarmError, Unavailable
from common.rendering import RENDER_ANSWER, Rendered, RenderOrder, RenderProgress, RenderRefusal

OnProgress = Callable[[RenderProgress], None]


def render_apart(order: RenderOrder, on_progress: OnProgress) -> Rendered:
    """Render in a process of its own, which ends with this call, by whatever.

    Raises FarmError with its refusal, and Unavailable if it ends without a word.
    """
    order.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = order.home / "render.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "gpu_node.picture"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            # Ctrl-C at the terminal is for this process, whose end is the other's.
            process_group=0,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin:
            process.stdin.write(order.model_dump_json() + "\n")
            process.stdin.flush()
            answer = _answer(process.stdout, on_progress)
    if answer is None:
        raise Unavailable(f"the renderer ended without a picture (code {process.returncode}); see {log}")
    if isinstance(answer, RenderRefusal):
        error = FarmError(answer.message)
        error.exit_code = answer.exit_code
        raise error
    return answer


def _answer(lines: IO[str], on_progress: OnProgress) -> Rendered | RenderRefusal | None:
    """The last word of the process; None if it ends before."""
    for line in lines:
        try:
            said = RENDER_ANSWER.validate_json(line)
        except ValidationError:
            return None
        if not isinstance(said, RenderProgress):
            return said
        on_progress(said)
    return None

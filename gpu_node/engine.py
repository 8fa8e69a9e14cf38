"""The engine: a child process that holds one model and renders passes; `python -m gpu_node.engine`.

It takes `protocol.Order` lines from stdin and answers with `protocol.Event` lines. Each order ends with
exactly one `Fulfilled`, `Done` or `Failed` without a shot. It may be killed at any moment; when
its stdin closes, by whatever death of its parent, it ends by itself.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import sys
import threading
from pathlib import Path

from gpu_node import protocol


class Lines:
    """The protocol's two ends. Whatever else is printed goes to stderr."""

    def __init__(self) -> None:
        self.orders: queue.SimpleQueue[protocol.Order] = queue.SimpleQueue()
        #: Set when the order in hand should end at its next step.
        self.interrupted = threading.Event()
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        self._lock = threading.Lock()
        os.dup2(2, 1)
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def emit(self, event: protocol.Event) -> None:
        with self._lock:
            self._out.write(event.model_dump_json() + "\n")
            self._out.flush()

    def _read(self) -> None:
        try:
            for line in sys.stdin:
                self._take(protocol.ORDER.validate_json(line))
        finally:
            # Nobody is left to render for, or nobody who is understood; also in the middle of a step.
            os._exit(0)

    def _take(self, order: protocol.Order) -> None:
        if isinstance(order, protocol.Interrupt):
            self.interrupted.set()
        else:
            # The node sends it after the answer to the one before: an interrupt meant that one.
            self.interrupted.clear()
            self.orders.put(order)


def main() -> None:
    parser = argparse.ArgumentParser(prog="gpu_node.engine", description=__doc__)
    parser.add_argument("--device", required=True, help="cpu, or a torch device such as cuda:0")
    parser.add_argument("--threads", required=True, type=int, help="CPU threads torch may use")
    parser.add_argument("--spool", required=True, type=Path, help="folder for finished images")
    parser.add_argument("--hashes", required=True, type=Path, help="file that remembers file hashes")
    parser.add_argument("--pipeline", action="append", default=[], help="diffusers class to import at once")
    arguments = parser.parse_args()
    # A terminal's Ctrl-C, a service manager's stop reach both; the node decides when its engine ends.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    lines = Lines()

    # Only now, seconds long and talkative: stdin is watched and stdout is guarded.
    import diffusers
    import torch
    import transformers

    from gpu_node.identity import Hashes
    from gpu_node.studio import Studio

    torch.set_num_threads(arguments.threads)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    # Importing one takes seconds, which would otherwise be the first batch's.
    for name in arguments.pipeline:
        getattr(diffusers, name, None)
    studio = Studio(
        arguments.device, arguments.spool, Hashes(arguments.hashes), lines.emit, lines.interrupted
    )
    studio.open()
    while True:
        studio.fulfil(lines.orders.get())


if __name__ == "__main__":
    main()

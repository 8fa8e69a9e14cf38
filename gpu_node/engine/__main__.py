"""The engine: a child process that holds one model and renders passes; `python -m gpu_node.engine`.

It takes `protocol.Command` lines from stdin and answers with `protocol.Event` lines. Each command ends with
exactly one `Completed`, `Done` or `Failed` without a shot. It may be killed at any moment; when
its stdin closes, by whatever death of its parent, it ends by itself.
"""

from __future__ import annotations

import argparse
import gc
import signal
from pathlib import Path

from gpu_node import sandbox
from gpu_node.engine.lines import ProtocolStreams


def main() -> None:
    parser = argparse.ArgumentParser(prog="gpu_node.engine", description=__doc__)
    parser.add_argument("--device", required=True, help="cpu, or a torch device such as cuda:0")
    parser.add_argument("--threads", required=True, type=int, help="CPU threads torch may use")
    parser.add_argument("--spool", required=True, type=Path, help="folder for finished images")
    parser.add_argument("--hashes", required=True, type=Path, help="file that remembers file hashes")
    parser.add_argument("--pipeline", action="append", default=[], help="diffusers class to import at once")
    parser.add_argument("--hide", action="append", default=[], type=Path, help="what it must not read")
    parser.add_argument("--unconfined", action="store_true", help="keep the rights of the user")
    arguments = parser.parse_args()
    # While there is one thread, and before a line of a library or a byte of a model is read.
    unconfined = "" if arguments.unconfined else sandbox.enter(arguments.hide)
    # A terminal's Ctrl-C, a service manager's stop reach both; the node decides when its engine ends.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    lines = ProtocolStreams()

    # Only now, seconds long and talkative: stdin is watched and stdout is guarded. While they load, the
    # collector would find nothing and take a fifth of the time.
    gc.disable()
    import diffusers
    import torch
    import transformers

    from gpu_node.engine.worker import EngineWorker
    from gpu_node.identity import Hashes

    torch.set_num_threads(arguments.threads)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    # Importing one takes seconds, which would otherwise be the first batch's.
    for name in arguments.pipeline:
        getattr(diffusers, name, None)
    # What was loaded stays: collecting after a change of models need not walk it, which takes 0.2 s.
    gc.freeze()
    gc.enable()
    worker = EngineWorker(
        arguments.device, arguments.spool, Hashes(arguments.hashes), lines.emit, lines.interrupted
    )
    worker.open(unconfined)
    while True:
        worker.execute(lines.commands.get())


if __name__ == "__main__":
    main()

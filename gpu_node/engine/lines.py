"""The engine's end of the protocol: commands on stdin, events on stdout."""

from __future__ import annotations

import os
import queue
import sys
import threading

from gpu_node import protocol


class ProtocolStreams:
    """Takes stdin and stdout for itself; whatever else is printed goes to stderr."""

    def __init__(self) -> None:
        self.commands: queue.SimpleQueue[protocol.Command] = queue.SimpleQueue()
        #: Set when the running command should end at its next step.
        self.interrupted = threading.Event()
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        self._lock = threading.Lock()
        os.dup2(2, 1)
        threading.Thread(target=self._read, name="commands", daemon=True).start()

    def emit(self, event: protocol.Event) -> None:
        with self._lock:
            self._out.write(event.model_dump_json() + "\n")
            self._out.flush()

    def _read(self) -> None:
        try:
            for line in sys.stdin:
                self._take(protocol.COMMAND.validate_json(line))
        finally:
            # Nobody is left to render for, or nobody who is understood; also in the middle of a step.
            os._exit(0)

    def _take(self, command: protocol.Command) -> None:
        if isinstance(command, protocol.Interrupt):
            self.interrupted.set()
        else:
            # The node sends it after the answer to the one before: an interrupt meant that one.
            self.interrupted.clear()
            self.commands.put(command)

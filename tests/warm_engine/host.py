"""Starts real engines in milliseconds: a process that has imported what an engine imports, and forks.

`python host.py DESCRIPTOR` listens on a Unix socket until its stdin closes. The engine process that a node
starts (see `sitecustomize`) sends its arguments, folder, environment and three standard streams; the copy
runs the engine's own `__main__` with them. Whichever of the two ends, the other ends in the same way.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import traceback
from functools import partial
from typing import Any, NoReturn

from common.catalog.check import PIPELINES
from gpu_node.agent import engine_client

#: Bytes of a request: an environment, mostly.
_LONGEST = 2**20


def _import_all() -> None:
    os.environ.update(engine_client._ENVIRONMENT)
    import diffusers
    import torch  # noqa: F401
    import transformers  # noqa: F401

    import gpu_node.engine.worker  # noqa: F401

    for pipeline in PIPELINES:
        getattr(diffusers, pipeline, None)
    # Copies share these pages as long as nobody writes to them.
    gc.collect()
    gc.freeze()


class Host:
    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(sys.stdin, selectors.EVENT_READ, self._end)

    def serve(self) -> NoReturn:
        while True:
            for key, _ in self._selector.select():
                key.data()

    def _end(self) -> NoReturn:
        # Connections close with it, so that all engines end.
        sys.exit()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        message, files, _, _ = socket.recv_fds(connection, _LONGEST, 3)
        process = os.fork()
        if not process:
            self._listener.close()
            _become_an_engine(json.loads(message), files)
        for file in files:
            os.close(file)
        watched = os.pidfd_open(process)
        ended = partial(self._ended, process, watched, connection)
        self._selector.register(watched, selectors.EVENT_READ, ended)
        self._selector.register(connection, selectors.EVENT_READ, partial(_kill, process))

    def _ended(self, process: int, watched: int, connection: socket.socket) -> None:
        _, status = os.waitpid(process, 0)
        self._selector.unregister(watched)
        self._selector.unregister(connection)
        os.close(watched)
        # Not heard where the other end was killed.
        with connection, contextlib.suppress(OSError):
            connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _kill(process: int) -> None:
    # Both ends may have been reported at once, and its own first.
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _become_an_engine(request: dict[str, Any], files: list[int]) -> NoReturn:
    code = 1
    try:
        os.setpgid(0, 0)
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv[1:] = request["arguments"]
        runpy.run_module("gpu_node.engine", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _import_all()
    Host(socket.socket(fileno=int(sys.argv[1]))).serve()

"""Python runs this at its start in processes of a farm under test; engines become copies of a warm one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path

_ENGINE = "gpu_node.engine"


def _run_a_copy(arguments: list[str]) -> None:
    """Let the host run this engine, and end as it ends."""
    request = {"arguments": arguments, "folder": str(Path.cwd()), "environment": dict(os.environ)}
    # A terminal's Ctrl-C and a service manager's stop end no engine.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as host:
        host.connect(os.environ["WARM_ENGINES"])
        socket.send_fds(host, [json.dumps(request).encode()], [0, 1, 2])
        # Only the copy holds the streams: whoever reads hears its end.
        for stream in (0, 1):
            os.close(stream)
        code = int(host.recv(16) or b"-9")
    if code < 0:
        with contextlib.suppress(OSError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if _ENGINE in sys.orig_argv:
    _run_a_copy(sys.orig_argv[sys.orig_argv.index(_ENGINE) + 1 :])

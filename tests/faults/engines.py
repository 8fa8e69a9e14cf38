"""What stands where engines are started in a farm under test: the real one, its copy, or one that only draws.

Python runs the `sitecustomize.py` of the first folder on `PYTHONPATH` in each process; each of these concerns
engines only. The farm has no hook for them.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs import own_environment

_HERE = Path(__file__).parent
#: What engines of each kind see at their start; both end at a deadly prompt.
ENGINES = {"diffusers": _HERE / "deadly_prompt", "quick": _HERE / "quick_engine"}


_WARM = _HERE.parent / "warm_engine"


@contextmanager
def warm_engines(folder: Path) -> Iterator[dict[str, str]]:
    """Variables of processes whose engines are real and start in milliseconds, as copies of one process.

    Its start takes several seconds of processor, once.
    """
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        number = listener.fileno()
        command = [sys.executable, str(_WARM / "host.py"), str(number)]
        host = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(number,))
    with host:
        yield {"PYTHONPATH": _first(_WARM), "WARM_ENGINES": str(path)}
        host.kill()


def _first(folder: Path) -> str:
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))


def with_engine(engine: str) -> dict[str, str]:
    """The environment of a farm that has engines of a kind."""
    return own_environment() | {"PYTHONPATH": _first(ENGINES[engine])}


def model_of(engine: str, folder: Path) -> Path:
    """The model for engines of a kind, made in `folder`."""
    model = folder / "models" / "tiny"
    if engine == "quick":
        # It reads no model: a folder that looks like one is enough.
        model.mkdir(parents=True)
        (model / "model_index.json").write_text("{}")
        return model
    # Imports torch.
    from tests.tiny import save_z_image

    return save_z_image(model)

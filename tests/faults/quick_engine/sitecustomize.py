"""Python runs this at its start in every process of a farm under faults; engines become quick ones.

With `MANY_DUPLICATES` in the environment, the coordinator duplicates whatever it can.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ENGINE = "gpu_node.engine"

if _ENGINE in sys.orig_argv:
    _arguments = sys.orig_argv[sys.orig_argv.index(_ENGINE) + 1 :]
    os.execv(sys.executable, [sys.executable, str(Path(__file__).with_name("draw.py")), *_arguments])

if "coordinator.service" in sys.orig_argv and "MANY_DUPLICATES" in os.environ:
    # The jobs are too small for duplicates within a share of their time.
    from coordinator.scheduling import work

    work._DUPLICATES = 1.0

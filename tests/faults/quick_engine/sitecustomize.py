"""Python runs this at its start in every process of a farm under faults; engines become quick ones."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ENGINE = "gpu_node.engine"

if _ENGINE in sys.orig_argv:
    _arguments = sys.orig_argv[sys.orig_argv.index(_ENGINE) + 1 :]
    os.execv(sys.executable, [sys.executable, str(Path(__file__).with_name("draw.py")), *_arguments])

"""The supervisor as a process: `python -m coordinator.embedded [--settings FILE] [--listen ADDR]`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from common.errors import FarmError
from common.settings import load_settings
from common.terminal import err, log_to_stderr, out
from coordinator.embedded.farm import run_farm
from coordinator.embedded.state import Narrator


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m coordinator.embedded")
    parser.add_argument("--settings", type=Path)
    parser.add_argument("--listen")
    options = parser.parse_args()
    log_to_stderr(logging.WARNING)
    try:
        settings = load_settings(options.settings)
        if options.listen:
            settings = settings.model_copy(update={"listen": options.listen})
        run_farm(settings, on_change=Narrator(out.say))
    except FarmError as error:
        err.print(str(error), soft_wrap=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The supervisor as a process: `python -m coordinator.embedded [--settings FILE] [--listen ADDR]`."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from common.errors import FarmError
from common.settings import load_settings
from coordinator.embedded.farm import run_farm
from coordinator.embedded.state import Narrator


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m coordinator.embedded")
    parser.add_argument("--settings", type=Path)
    parser.add_argument("--listen")
    options = parser.parse_args()
    try:
        settings = load_settings(options.settings)
        if options.listen:
            settings = settings.model_copy(update={"listen": options.listen})
        run_farm(settings, on_change=Narrator(partial(print, flush=True)))
    except FarmError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

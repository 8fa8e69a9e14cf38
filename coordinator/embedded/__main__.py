"""The supervisor as a process: `python -m coordinator.embedded [--settings FILE] [--listen ADDR]`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from common.settings import load_settings
from common.terminal import exit_on_error, log_to_stderr, out
from coordinator.embedded.farm import run_farm
from coordinator.embedded.state import Narrator


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m coordinator.embedded")
    parser.add_argument("--settings", type=Path)
    parser.add_argument("--listen")
    options = parser.parse_args()
    log_to_stderr(logging.WARNING)
    with exit_on_error():
        settings = load_settings(options.settings)
        if options.listen:
            settings = settings.model_copy(update={"listen": options.listen})
        run_farm(settings, on_change=Narrator(out.say))


if __name__ == "__main__":
    main()

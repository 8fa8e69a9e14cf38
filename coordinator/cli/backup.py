"""`farm backup`, `farm restore`: copies of the ledger."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from common.errors import Conflict
from common.settings import load_settings
from common.units import counted
from coordinator.cli import options
from coordinator.cli.show import out, print_answer, print_json
from coordinator.embedded.home import Home
from coordinator.embedded.state import hold_lock
from coordinator.ledger.backup import LedgerCopy, back_up, ledger_file, restore


def backup_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="New file for the copy.")],
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Copy the ledger of this machine's farm to a file. The farm may run meanwhile.

    The ledger holds jobs, states, costs, and where each image is stored. The images themselves are in the
    store; back that up with its own tools.

    Example: `farm backup ledger-monday.sqlite`
    """
    found = back_up(ledger_file(load_settings(settings).database), file)
    print_answer(found, f"backed up {_told(found)} to {file} ({found.size / 1e6:,.1f} MB)", as_json)


def restore_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Copy that `farm backup` wrote.")],
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Replace the ledger of this machine's farm by a copy. Stop the farm first.

    The present ledger is kept beside it. Images that were stored after the copy was made are found in the
    store again when their shots are rendered; none is overwritten.

    Example: `farm restore ledger-monday.sqlite`
    """
    used = load_settings(settings)
    ledger = ledger_file(used.database)
    home = Home.at(used.home)
    # None starts meanwhile.
    lock = hold_lock(home)
    if lock is None:
        raise Conflict(f"a farm is running in {home.root}; stop it with `farm down` first")
    try:
        found = restore(file, ledger, datetime.now())
    finally:
        os.close(lock)
    if as_json:
        print_json(found)
        return
    out.say(f"restored {_told(found)} from {file}; `farm up` starts the farm")
    if found.kept is not None:
        out.say(f"the ledger that was there is kept as {found.kept}")


def _told(found: LedgerCopy) -> str:
    return f"{counted(found.jobs, 'job')} and {counted(found.images, 'image')}"

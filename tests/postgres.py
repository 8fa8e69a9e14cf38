"""A PostgreSQL of the tests' own: a throw-away cluster on a unix socket, run by an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.require import require_program

_INITDB = ("initdb", "apt-get install postgresql", "/usr/lib/postgresql/17/bin", "/usr/lib/postgresql/15/bin")


@contextmanager
def running_postgres(*, authentication: str = "trust", password: str = "") -> Iterator[str]:
    """The socket folder of a fresh cluster with the superuser `farm`, whose password may matter."""
    initdb = require_program(*_INITDB)
    # Not pytest's folder: its path may be too long for a socket, and closed to the other user.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = _unprivileged_user()
    if user is not None:
        shutil.chown(folder, user)
    try:
        given: list[str | Path] = ["-D", folder / "data", "-U", "farm", "-A", authentication, "--no-sync"]
        if password:
            (folder / "password").write_text(password)
            given += ["--pwfile", folder / "password"]
        _run([initdb, *given], user, folder)
        start_postgres(str(folder))
        try:
            yield str(folder)
        finally:
            stop_postgres(str(folder))
    finally:
        shutil.rmtree(folder)


def start_postgres(folder: str) -> None:
    """The cluster in this socket folder, until it answers."""
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
    _control(folder, "-o", options, "-l", f"{folder}/log", "start")


def stop_postgres(folder: str) -> None:
    """As if it crashed: no session ends in order."""
    _control(folder, "-m", "immediate", "stop")


def _control(folder: str, *arguments: str) -> None:
    program = require_program(*_INITDB).with_name("pg_ctl")
    _run([program, "-D", f"{folder}/data", "-w", *arguments], _unprivileged_user(), Path(folder))


def _unprivileged_user() -> str | None:
    """Who runs the server: PostgreSQL refuses root. None: whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _run(command: Sequence[str | Path], user: str | None, folder: Path) -> None:
    done = subprocess.run(
        command,
        user=user,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, done.stderr

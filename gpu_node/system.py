"""What differs between systems: locks on files, and what the machine has. No Windows machine ran it."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

#: What creates a file of other users' folders: no link leads out of it, and no pipe waits for anybody.
_CAREFUL = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
#: Of LockFileEx.
_FAIL_AT_ONCE, _EXCLUSIVE = 1, 2
#: Where Windows locks, beyond every byte of a file, since its locks keep others from reading.
_BEYOND = 2**62


def try_lock(file: IO[Any], *, shared: bool = False) -> bool:
    """Lock an open file until it is closed; False where another process has it."""
    try:
        _lock(file, shared=shared, waits=False)
    except OSError:
        return False
    return True


def lock(file: IO[Any], *, shared: bool = False) -> None:
    """As `try_lock`, and wait for it. Raises OSError where the file system has no locks."""
    _lock(file, shared=shared, waits=True)


def open_carefully(path: str, flags: int) -> int:
    """An opener for folders into which others may write."""
    return os.open(path, flags | _CAREFUL, 0o644)


def read_carefully(file: Path) -> bytes:
    """A file that an engine has written. Raises OSError for links, and whatever else is no file."""
    with open(file, "rb", opener=open_carefully) as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no file", str(file))
        return opened.read()


def make_readable(file: IO[Any]) -> None:
    """Let all users read a file, whatever the umask; on Windows, its folder decides."""
    if sys.platform != "win32":
        os.fchmod(file.fileno(), 0o644)


def is_private(file: Path) -> bool:
    """Whether no other user can read a file; on Windows its folder decides, and that is not looked at."""
    return sys.platform == "win32" or not file.stat().st_mode & 0o077


def cpu_threads() -> int:
    """CPU threads that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def own_group() -> dict[str, Any]:
    """Arguments of `subprocess.Popen` for a process that hears nothing of this one's terminal."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def installed_memory() -> int:
    """Bytes of memory of the machine."""
    if sys.platform == "win32":
        kilobytes = ctypes.c_ulonglong()
        ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
        return kilobytes.value * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


if sys.platform == "win32":
    import msvcrt
    from ctypes import wintypes

    class _Overlapped(ctypes.Structure):
        _fields_ = (
            ("internal", ctypes.c_void_p),
            ("internal_high", ctypes.c_void_p),
            ("offset", wintypes.DWORD),
            ("offset_high", wintypes.DWORD),
            ("event", wintypes.HANDLE),
        )

    def _lock(file: IO[Any], *, shared: bool, waits: bool) -> None:
        flags = (0 if shared else _EXCLUSIVE) | (0 if waits else _FAIL_AT_ONCE)
        place = _Overlapped(offset=0, offset_high=_BEYOND >> 32)
        handle = msvcrt.get_osfhandle(file.fileno())
        if not ctypes.windll.kernel32.LockFileEx(handle, flags, 0, 1, 0, ctypes.byref(place)):
            raise ctypes.WinError()

else:
    import fcntl

    def _lock(file: IO[Any], *, shared: bool, waits: bool) -> None:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(file, kind if waits else kind | fcntl.LOCK_NB)

"""What an engine is kept from, as far as Linux lets any user do that: the network, and keys of its node."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Bytes of a file that an engine may write.
_LARGEST_FILE = 4 * 2**30
#: Variables that are no engine's business.
_SECRET = re.compile(r"(FARM|AWS|SSH|DBUS)_.*|.*(KEY|TOKEN|SECRET|PASSW|CREDENTIAL).*", re.IGNORECASE)

_NEW_MOUNTS, _NEW_USER, _NEW_NETWORK = 0x00020000, 0x10000000, 0x40000000
_READ_ONLY, _BIND = 1, 4096
_NO_NEW_PRIVILEGES = 38
_CAPABILITIES_V3 = 0x20080522


def clean_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Those without what may be a credential, or a setting of the farm."""
    return {name: value for name, value in variables.items() if not _SECRET.fullmatch(name)}


def enter(hidden: Sequence[Path]) -> str:
    """Confine this process for good, while it has a single thread; why that failed, or the empty string.

    It gets a network of its own without any way out, and reads nothing in `hidden` files and folders. A file
    comes back to it when another one takes its place; what is in a folder does not. It cannot look into
    processes outside, gains no rights, leaves no memory dumps and writes no huge files.
    """
    if sys.platform != "linux":
        return f"{sys.platform} confines no program by itself"
    _limit()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    user, group = os.getuid(), os.getgid()
    try:
        # The rights to do so come with the user namespace.
        _call(libc, "unshare", _NEW_USER | _NEW_NETWORK | _NEW_MOUNTS)
    except OSError as error:
        return str(error)
    try:
        _map_user(user, group)
        for path in hidden:
            if path.is_dir():
                _call(libc, "mount", b"tmpfs", os.fsencode(path), b"tmpfs", _READ_ONLY, b"size=4k")
            elif path.exists():
                _call(libc, "mount", b"/dev/null", os.fsencode(path), None, _BIND, None)
    except OSError as error:
        return str(error)
    finally:
        # Those of the user namespace: with them, what was mounted could be undone.
        libc.capset((ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0), (ctypes.c_uint32 * 6)())
    return ""


def _map_user(user: int, group: int) -> None:
    """The process keeps its user and group in its new user namespace."""
    process = Path("/proc/self")
    (process / "setgroups").write_text("deny")
    (process / "uid_map").write_text(f"{user} {user} 1")
    (process / "gid_map").write_text(f"{group} {group} 1")


def _limit() -> None:
    import resource

    # Prompts are in its memory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hardest = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    if hardest == resource.RLIM_INFINITY or hardest > _LARGEST_FILE:
        resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))


def _call(libc: ctypes.CDLL, name: str, *arguments: object) -> None:
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")

"""The node's code on a system without what only POSIX has. No Windows machine was there to run it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("gpu_node", "common")
#: What Windows lacks, as Python's documentation says.
MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty", "syslog"}
NAMES = {
    "os": {
        *(
            "fchmod",
            "fchown",
            "chown",
            "fork",
            "forkpty",
            "getuid",
            "geteuid",
            "getgid",
            "getpgid",
            "getloadavg",
        ),
        *("killpg", "mkfifo", "nice", "pidfd_open", "setsid", "setpgid", "sched_getaffinity", "statvfs"),
        *("sysconf", "uname", "WNOHANG", "O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY", "O_CLOEXEC"),
    },
    "signal": {
        "SIGKILL",
        "SIGHUP",
        "SIGSTOP",
        "SIGCONT",
        "SIGUSR1",
        "SIGALRM",
        "pthread_sigmask",
        "setitimer",
    },
    "socket": {"AF_UNIX", "send_fds", "recv_fds", "socketpair"},
}
#: Of the coordinator.
SERVERS = {Path("common/storage/directory.py")}
#: Where it is used behind a look at the system.
BEHIND_A_LOOK = {Path("gpu_node/system.py"), Path("gpu_node/sandbox.py")}

#: Imports modules of the node as on Windows: third parties are there already, in their POSIX form.
PROGRAM = """
import importlib, os, signal, sys, types
modules, names, own = MODULES, NAMES, OWN
# What they import of others.
for name in own:
    importlib.import_module(name)
for name in [name for name in sys.modules if name.partition(".")[0] in ("gpu_node", "common")]:
    del sys.modules[name]

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in modules:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in modules:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Missing())
for module, lacking in names.items():
    for name in lacking:
        sys.modules[module].__dict__.pop(name, None)
sys.modules["msvcrt"] = types.ModuleType("msvcrt")
sys.platform = "win32"
for name in own:
    importlib.import_module(name)

from gpu_node.agent.engine_client import EngineClient
from gpu_node import sandbox, system
assert "confines no program" in sandbox.enter(())
assert system.is_private(None)
assert system.cpu_threads() >= 1
print(len(own))
"""


def modules() -> list[str]:
    """All of the node without its engine, which imports torch for seconds."""
    files = sorted((ROOT / "gpu_node").rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names if not name.startswith("gpu_node.engine")]


def test_the_node_is_imported_where_posix_is_missing() -> None:
    given = {"MODULES": MODULES, "NAMES": {name: NAMES[name] for name in ("os", "signal")}, "OWN": modules()}
    program = PROGRAM
    for name, value in given.items():
        program = program.replace(name, repr(value), 1)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(modules()) > 40


def posix_only(tree: ast.AST) -> Iterator[str]:
    """What a module uses that Windows lacks."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (one.name for one in names if one.name in MODULES)
            case ast.ImportFrom(module=str(module), names=names):
                yield from [module] if module in MODULES else []
                yield from (one.name for one in names if one.name in NAMES.get(module, ()))
            case ast.Attribute(value=ast.Name(id=module), attr=name) if name in NAMES.get(module, ()):
                yield f"{module}.{name}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_only_posix_has_is_used_in_the_files_that_look_at_the_system(folder: str) -> None:
    files = {file.relative_to(ROOT): file for file in (ROOT / folder).rglob("*.py")}
    for path in BEHIND_A_LOOK | SERVERS:
        files.pop(path, None)
    found = {path: {*posix_only(ast.parse(file.read_text()))} for path, file in files.items()}
    assert {path: names for path, names in found.items() if names} == {}


def test_the_search_finds_what_only_posix_has() -> None:
    source = "import fcntl\nfrom signal import SIGKILL\nimport os\nos.fork()\nos.getpid()\n"
    assert sorted(posix_only(ast.parse(source))) == ["SIGKILL", "fcntl", "os.fork"]


@pytest.mark.skipif(os.name == "nt", reason="the files are used in earnest there")
def test_the_files_that_look_at_the_system_are_the_ones_that_need_it() -> None:
    for path in BEHIND_A_LOOK:
        assert [*posix_only(ast.parse((ROOT / path).read_text()))] != []

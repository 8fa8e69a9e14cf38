"""What an engine is kept from: where Linux confines programs of any user, as it does here."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from common.keys import write_private
from gpu_node.sandbox import clean_environment

#: Enters the sandbox; tries a connection, the key, ways around, and what an engine needs.
PROGRAM = """
import ctypes, json, os, resource, socket, sys
from pathlib import Path
from gpu_node import sandbox

key, spool, address = Path(sys.argv[1]), Path(sys.argv[2]), ("127.0.0.1", int(sys.argv[3]))
folder = spool / "credentials"
libc = ctypes.CDLL(None, use_errno=True)
user = os.getuid(), os.getgid()

def fails(act):
    try:
        act()
    except OSError as error:
        return type(error).__name__
    return ""

told = {"unconfined": sandbox.enter([key, key.with_name("absent"), folder])}
told["connection"] = fails(lambda: socket.create_connection(address, 1).close())
told["key"] = key.read_text()
told["unmounted"] = libc.umount2(os.fsencode(key), 2)
told["user"] = (os.getuid(), os.getgid()) == user
told["core"] = resource.getrlimit(resource.RLIMIT_CORE)[0]
told["parent"] = fails(Path(f"/proc/{os.getppid()}/environ").read_text)
(spool / "image").write_text("an image")
# As deep as it likes: what is mounted above stays.
libc.unshare(0x10020000)
told["folder unmounted"] = libc.umount2(os.fsencode(folder), 2)
print("confined", flush=True)
input()
told["folder"] = [str(file) for file in folder.iterdir()]
told["unmounted deeper"], told["key deeper"] = libc.umount2(os.fsencode(key), 2), key.read_text()
print(json.dumps(told))
"""


def test_a_confined_process_has_no_network_and_no_key_and_gets_neither_back(tmp_path: Path) -> None:
    (tmp_path / "identity").write_text("secret")
    (tmp_path / "credentials").mkdir()
    rotated = tmp_path / "credentials" / "identity"
    write_private(rotated, "secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "identity"), str(tmp_path), port]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "confined\n"
            # As `farm-node rotate` does, while the engine runs.
            write_private(rotated, "another secret")
            told = json.loads(child.communicate("\n")[0])
    if told["unconfined"]:
        pytest.skip(f"this system confines no programs: {told['unconfined']}")

    assert told == {
        "unconfined": "",
        "connection": "OSError",
        "key": "",
        "unmounted": -1,
        "user": True,
        "core": 0,
        "parent": "PermissionError",
        "folder unmounted": -1,
        "folder": [],
        "unmounted deeper": -1,
        "key deeper": "",
    }
    assert (tmp_path / "identity").read_text() == "secret"
    assert (tmp_path / "image").read_text() == "an image"


def test_an_engine_gets_no_credentials_by_its_environment() -> None:
    secrets = ["FARM_KEYS__NODE", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "SSH_AUTH_SOCK", "DB_PASSWORD"]
    secrets += ["CREDENTIALS_DIRECTORY", "openai_api_key"]
    needed = ["PATH", "HOME", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "PYTHONPATH", "OMP_NUM_THREADS"]
    assert list(clean_environment(dict.fromkeys([*secrets, *needed], "x"))) == needed

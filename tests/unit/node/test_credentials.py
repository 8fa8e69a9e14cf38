"""The key of a node: made once, private, bound to one name, and answers of the farm that were lost."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from common.errors import Invalid
from common.invitations import Invitation
from common.keys import new_key, write_private
from common.node_keys import NodeKey, access_text, has_signed, rotation_text
from gpu_node.cli import app
from gpu_node.credentials import Credentials, identity_file, identity_folder, kept_identity, read_identity
from gpu_node.options import invitation

FARM = "http://192.168.1.10:8080"


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    first = kept_identity(tmp_path, "attic", FARM)
    assert identity_file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert kept_identity(tmp_path, "attic", FARM) == read_identity(tmp_path) == first
    with pytest.raises(Invalid, match="is the home of node attic"):
        kept_identity(tmp_path, "cellar", FARM)
    identity_file(tmp_path).chmod(0o640)
    with pytest.raises(Invalid, match="chmod 600"):
        read_identity(tmp_path)


def test_a_key_of_an_earlier_version_moves_into_the_folder_that_engines_do_not_see(tmp_path: Path) -> None:
    known = kept_identity(tmp_path, "attic", FARM)
    earlier = tmp_path / "identity"
    identity_file(tmp_path).rename(earlier)
    identity_folder(tmp_path).rmdir()

    assert read_identity(tmp_path) == known
    assert not earlier.exists()
    assert [file.name for file in identity_folder(tmp_path).iterdir()] == ["identity"]
    assert identity_folder(tmp_path).stat().st_mode & 0o777 == 0o700


#: Farms by URL and pin.
FARMS = {
    "lan": (FARM, ""),
    "lan, written otherwise": ("HTTP://192.168.1.10:8080/", ""),
    "another port": ("http://192.168.1.10:8081", ""),
    "proxy": ("https://farm.example", ""),
    "proxy, with its port": ("https://farm.example:443", ""),
    "gateway": ("https://home.example:8443", "a" * 43),
    "gateway elsewhere": ("https://203.0.113.7:8443", "a" * 43),
    "another gateway there": ("https://home.example:8443", "b" * 43),
    "gateway, not pinned": ("https://home.example:8443", ""),
    "no address": ("nowhere:x", ""),
}
SAME = [
    {"lan", "lan, written otherwise"},
    {"proxy", "proxy, with its port"},
    {"gateway", "gateway elsewhere"},
]


@pytest.mark.parametrize("joined", FARMS)
@pytest.mark.parametrize("dialled", FARMS)
def test_a_key_is_shown_to_no_other_farm(tmp_path: Path, joined: str, dialled: str) -> None:
    first = kept_identity(tmp_path, "attic", *FARMS[joined])
    url, pin = FARMS[dialled]
    there = Credentials(tmp_path, url, "secret", pin=pin)
    if joined == dialled or {joined, dialled} in SAME:
        assert there.answer("c").node == "attic"
        assert kept_identity(tmp_path, "attic", url, pin).key == first.key
        return
    for show in (lambda: there.answer("c"), there.rotation):
        with pytest.raises(Invalid, match="leave --farm out"):
            show()
    with pytest.raises(Invalid, match="or pass --moved"):
        kept_identity(tmp_path, "attic", url, pin)
    assert read_identity(tmp_path) == first

    kept_identity(tmp_path, "attic", url, pin, moved=True)

    assert there.answer("c").public_key == NodeKey(bytes.fromhex(first.key)).public
    with pytest.raises(Invalid, match="leave --farm out"):
        Credentials(tmp_path, FARMS[joined][0], pin=FARMS[joined][1]).answer("c")


@pytest.mark.parametrize("content", ["", "{}", '{"node": "a", "farm": "b", "key": "nonsense"}', "\x00"])
def test_a_damaged_key_is_said_with_what_to_do(tmp_path: Path, content: str) -> None:
    kept_identity(tmp_path, "attic", FARM)
    identity_file(tmp_path).write_text(content)
    with pytest.raises(Invalid, match="`farm-node leave`"):
        read_identity(tmp_path)


def test_an_answer_is_signed_by_the_key_of_the_node_and_by_the_invitation(tmp_path: Path) -> None:
    kept_identity(tmp_path, "attic", FARM)
    request = Credentials(tmp_path, FARM, "secret").answer("c")
    text = access_text("c", "attic", request.public_key)
    assert has_signed(request.public_key, text, request.signature)
    assert request.invitation is not None
    assert has_signed(request.invitation.public_key, text, request.invitation.signature)
    assert Credentials(tmp_path, FARM).answer("c").invitation is None


def test_a_rotation_that_was_not_answered_is_asked_for_again_with_the_same_key(tmp_path: Path) -> None:
    old = kept_identity(tmp_path, "attic", FARM)
    credentials = Credentials(tmp_path, FARM)
    rotation = credentials.rotation()
    assert credentials.rotation() == rotation
    assert has_signed(rotation.public_key, rotation_text("attic", rotation.public_key), rotation.signature)
    assert credentials.answer("c").public_key != rotation.public_key

    assert credentials.rotated()

    assert credentials.answer("c").public_key == rotation.public_key
    assert not credentials.rotated()
    known = read_identity(tmp_path)
    assert known is not None
    assert (known.next_key, known.node) == ("", old.node)


def test_a_node_leaves_without_a_connection(tmp_path: Path) -> None:
    kept_identity(tmp_path, "attic", "http://127.0.0.1:9")
    left = CliRunner().invoke(app, ["leave", "--home", str(tmp_path)])
    assert left.exit_code == 0, left.output
    assert not identity_file(tmp_path).exists()
    again = CliRunner().invoke(app, ["leave", "--home", str(tmp_path)])
    assert again.exit_code == 1


@pytest.mark.parametrize("command", ["pause", "resume", "rotate", "leave"])
def test_where_no_node_has_joined_a_command_says_so(tmp_path: Path, command: str) -> None:
    ran = CliRunner().invoke(app, [command, "--home", str(tmp_path)])
    assert ran.exit_code == 1
    assert "no node has joined from" in str(ran.exception)


def test_a_node_that_knows_no_farm_asks_for_one(tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["run", "--home", str(tmp_path)])
    assert ran.exit_code == 1
    assert "--invite" in str(ran.exception)
    wrong = CliRunner().invoke(app, ["run", "--home", str(tmp_path), "--invite", "nonsense"])
    assert wrong.exit_code == 2
    assert "this is no invitation" in wrong.output


@pytest.mark.parametrize("given", ["line", "file", "standard input"])
def test_an_invitation_need_not_be_among_the_arguments(
    tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    invited = Invitation(FARM, "attic", new_key())
    file = tmp_path / "invitation"
    write_private(file, f"{invited.text}\n")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{invited.text}\nmore"))

    assert invitation({"line": invited.text, "file": str(file), "standard input": "-"}[given]) == invited

    file.chmod(0o644)
    with pytest.raises(typer.BadParameter, match="chmod 600"):
        invitation(str(file))
    with pytest.raises(typer.BadParameter, match="no invitation"):
        invitation("x" * 1000)


def test_an_invitation_says_which_farm_and_which_name() -> None:
    line = Invitation(FARM, "attic", new_key()).text
    assert line.startswith("eyJ")

"""The embedded Valkey and SeaweedFS, as the farm starts them."""

from __future__ import annotations

import stat
from pathlib import Path

import boto3
import pytest
import redis
from botocore.config import Config
from botocore.exceptions import ClientError

from common.errors import Unavailable
from coordinator.embedded.home import Home
from coordinator.embedded.valkey import OVERRIDE, server_binary
from tests.servers import S3Server, ValkeyServer, running_valkey


def test_valkey_refuses_whoever_has_no_password(valkey_server: ValkeyServer) -> None:
    with redis.Redis(port=valkey_server.port) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_valkey_never_evicts_a_ticket_and_grows_no_further_than_its_limit(
    valkey_server: ValkeyServer,
) -> None:
    with redis.Redis.from_url(valkey_server.url) as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(256 * 2**20)}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("save") == {"save": ""}


def test_a_killed_valkey_comes_back_empty_at_its_address(own_valkey: ValkeyServer) -> None:
    with redis.Redis.from_url(own_valkey.url) as client:
        client.lpush("render.public.vram08", "a ticket")
        own_valkey.kill()
        own_valkey.start()
        assert client.llen("render.public.vram08") == 0


def test_two_homes_never_share_a_port(tmp_path: Path, valkey_server: ValkeyServer) -> None:
    with running_valkey(tmp_path / "other") as other:
        assert other.port != valkey_server.port


def test_a_home_and_its_secrets_are_its_owners_only(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.key_file("node").stat().st_mode) == 0o600
    assert home.key("node") == Home.at(tmp_path / "home").key("node")
    assert home.key("node") != home.key("operator")


def test_a_named_server_that_does_not_exist_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OVERRIDE, "/nowhere/valkey-server")
    with pytest.raises(Unavailable, match="/nowhere/valkey-server: not found"):
        server_binary()


def test_s3_refuses_a_wrong_secret(s3_server: S3Server) -> None:
    stranger = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key="wrong",
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.put_object(Bucket=s3_server.bucket, Key="x", Body=b"x")
    stranger.close()

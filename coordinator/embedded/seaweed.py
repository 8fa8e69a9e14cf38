"""The embedded S3: SeaweedFS' `weed mini`, bound to 127.0.0.1 with credentials of its own.

Its filer answers local users without a password, so on a machine with users who must not see the
pictures choose a directory (`storage.url: file:FOLDER`) or a real S3. For the same reason it never
listens on another address: the relay carries the one S3 port there.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from common.keys import write_private
from coordinator.embedded.home import Home
from coordinator.embedded.ports import GRPC_OFFSET
from coordinator.embedded.process import Component

REGION = "us-east-1"
#: The HTTP ports of its parts.
PARTS = ("master", "volume", "filer", "s3", "admin")

_OFF = (
    "-master.telemetry=false",
    "-webdav=false",
    "-admin.ui=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-s3.autoCreateBucket=false",
)


def weed_binary() -> str | None:
    """Path of `weed`, or None where SeaweedFS has no build for this machine."""
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.exists() else shutil.which("weed")


def seaweed(home: Home, *, weed: str, ports: dict[str, int], bucket: str) -> Component:
    """`weed mini` over `home.seaweed`; `ports` by part, each with its gRPC port `GRPC_OFFSET` higher."""
    access, secret = credentials(home)
    identity = {
        "name": "farm",
        "credentials": [{"accessKey": access, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    identities = home.seaweed / "s3.json"
    write_private(identities, json.dumps({"identities": [identity]}))
    data = home.seaweed / "data"
    data.mkdir(mode=0o700, exist_ok=True)
    listen = [f"-{part}.port={ports[part]}" for part in PARTS]
    listen += [f"-{part}.port.grpc={ports[part] + GRPC_OFFSET}" for part in PARTS]
    # Relative to the working folder: a socket's path may have 107 bytes at the most.
    sockets = ["-filer.localSocket=filer.sock", "-s3.localSocket=s3.sock"]
    endpoint = f"http://127.0.0.1:{ports['s3']}"
    return Component(
        name="seaweedfs",
        command=(
            weed,
            "mini",
            f"-dir={data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-s3.config={identities}",
            f"-bucket={bucket}",
            *_OFF,
            *listen,
            *sockets,
        ),
        folder=home.seaweed,
        # Its buffers alone are 240 MB; collected at twice that, it grew to 500 MB over thousands of pictures.
        environment={"GOGC": "25"},
        is_ready=lambda: _has_bucket(endpoint, access, secret, bucket),
        address=endpoint,
    )


def credentials(home: Home) -> tuple[str, str]:
    """Access key and secret key."""
    return home.key("s3-access"), home.key("s3-secret")


def _has_bucket(endpoint: str, access: str, secret: str, bucket: str) -> bool:
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        region_name=REGION,
        config=Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1}),
    )
    try:
        client.head_bucket(Bucket=bucket)
    except (BotoCoreError, ClientError):
        return False
    finally:
        client.close()
    return True

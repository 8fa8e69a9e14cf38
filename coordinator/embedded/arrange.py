"""What an embedded farm consists of: the settings in force and the processes, from what a person set.

Where the settings name a broker, a store or a database of their own, that one is used and none is started.
"""

from __future__ import annotations

import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr, TypeAdapter

from common.errors import Invalid, Unavailable
from common.settings import EmbeddedNode, Keys, Settings, Storage
from common.views import NodeView
from coordinator.embedded.home import Home, write_private
from coordinator.embedded.ports import kept_ports
from coordinator.embedded.process import Component
from coordinator.embedded.seaweed import PARTS, REGION, credentials, seaweed, weed_binary
from coordinator.embedded.valkey import broker_url, valkey

_LOOPBACK = "127.0.0.1"
_ANY = "0.0.0.0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrangement:
    #: In force: with keys, addresses and absolute paths.
    settings: Settings
    #: Started one stage after the other, ended in reverse.
    stages: tuple[tuple[Component, ...], ...]
    #: What a person should hear about it.
    remarks: tuple[str, ...]


def arrange(settings: Settings, home: Home) -> Arrangement:
    """Raises Unavailable where a part is missing on this machine, Invalid for an address it does not have."""
    listen = settings.listen
    advertised = advertised_address(listen)
    ports = kept_ports(home.ports, ("api", "valkey", "s3-relay", *(f"{part}+grpc" for part in PARTS)))
    servers: list[Component] = []
    remarks: list[str] = []
    changes: dict[str, object] = {
        "home": home.root,
        "port": settings.port or ports["api"],
        "keys": _keys_in_force(settings, home),
    }
    changes["public_url"] = settings.public_url or f"http://{advertised}:{changes['port']}"
    if not settings.broker_url:
        servers.append(valkey(home, port=ports["valkey"], binds=_binds(listen)))
        changes["broker_url"] = broker_url(home, ports["valkey"])
        changes["public_broker_url"] = f"redis://{advertised}:{ports['valkey']}/0"
    if wants_seaweed(settings.storage):
        weed = weed_binary()
        if weed is None:
            remarks.append(f"SeaweedFS has no build for this machine: pictures are kept in {home.pictures}")
            changes["storage"] = Storage(url=f"file:{home.pictures}")
        else:
            parts = {part: ports[f"{part}+grpc"] for part in PARTS}
            bucket = urlsplit(settings.storage.url).netloc
            servers.append(seaweed(home, weed=weed, ports=parts, bucket=bucket))
            public = f"http://{_LOOPBACK}:{parts['s3']}"
            if listen != _LOOPBACK:
                servers.append(_relay(listen, ports["s3-relay"], parts["s3"]))
                public = f"http://{advertised}:{ports['s3-relay']}"
            changes["storage"] = _embedded_storage(settings.storage, home, parts["s3"], public)
    in_force = settings.model_copy(update=changes)
    stages = (tuple(servers), (_coordinator(in_force),), (_ingest(), *_nodes(in_force, home)))
    return Arrangement(settings=in_force, stages=stages, remarks=tuple(remarks))


def advertised_address(listen: str) -> str:
    """The address other machines reach `listen` at: itself, or for 0.0.0.0 the one of the default route."""
    if listen != _ANY:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.bind((listen, 0))
        except OSError:
            raise Invalid(
                f"--listen {listen}: this machine has no such address; give one of its own, or 0.0.0.0"
            ) from None
        return listen
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing; only asks the routing table. The address is one of those kept for examples.
            probe.connect(("198.51.100.1", 9))
        except OSError:
            return _LOOPBACK
        address: str = probe.getsockname()[0]
        return address


def wants_seaweed(storage: Storage) -> bool:
    return storage.url.startswith("s3://") and not storage.endpoint and not storage.access_key


def _binds(listen: str) -> tuple[str, ...]:
    return (listen,) if listen in (_LOOPBACK, _ANY) else (_LOOPBACK, listen)


def _keys_in_force(settings: Settings, home: Home) -> Keys:
    """Generated ones where the settings give none; the home's key files hold the same."""
    keys: dict[str, SecretStr] = {}
    for name in Keys.model_fields:
        given = getattr(settings.keys, name) if name in settings.keys.model_fields_set else None
        if given is not None:
            write_private(home.keys / name, given.get_secret_value() + "\n")
        keys[name] = SecretStr(home.key(name))
    return Keys(**keys)


def _embedded_storage(storage: Storage, home: Home, port: int, public: str) -> Storage:
    access, secret = credentials(home)
    return storage.model_copy(
        update={
            "endpoint": f"http://{_LOOPBACK}:{port}",
            "public_endpoint": public,
            "region": REGION,
            "access_key": access,
            "secret_key": SecretStr(secret),
        }
    )


def _relay(listen: str, port: int, target: int) -> Component:
    command = (
        sys.executable,
        "-m",
        "coordinator.embedded.relay",
        f"{listen}:{port}",
        f"{_LOOPBACK}:{target}",
    )
    return Component(name="s3-relay", command=command, address=f"{listen}:{port}")


def _coordinator(settings: Settings) -> Component:
    return Component(
        name="coordinator",
        command=(sys.executable, "-m", "coordinator.service"),
        is_ready=lambda: _get(f"{local_url(settings)}/healthz") is not None,
        address=settings.public_url,
    )


def _ingest() -> Component:
    return Component(name="ingest", command=(sys.executable, "-m", "coordinator.ingest"))


def _nodes(settings: Settings, home: Home) -> list[Component]:
    return [_node(node, settings, home.key_file("node")) for node in settings.nodes]


def _node(node: EmbeddedNode, settings: Settings, key: Path) -> Component:
    program = shutil.which("farm-node", path=str(Path(sys.executable).parent)) or shutil.which("farm-node")
    if program is None:
        raise Unavailable("`farm-node` is not installed: pip install 'shotfarm[node]', or set no nodes")
    command = [program, "run", "--farm", local_url(settings), "--key", str(key), "--name", node.name]
    if node.card:
        command += ["--card", node.card]
    for lane in node.lanes:
        command += ["--lane", lane]
    return Component(
        name=node.name, command=tuple(command), is_ready=lambda: _has_joined(node.name, settings)
    )


def local_url(settings: Settings) -> str:
    """The API as this machine reaches it, whatever stands before it for others."""
    host = _LOOPBACK if settings.listen == _ANY else settings.listen
    return f"http://{host}:{settings.port}"


def _has_joined(name: str, settings: Settings) -> bool:
    operator = settings.keys.operator
    answer = _get(f"{local_url(settings)}/v1/nodes", operator.get_secret_value() if operator else "")
    if answer is None:
        return False
    nodes = TypeAdapter(list[NodeView]).validate_json(answer.content)
    return any(node.name == name and node.state in ("ready", "busy") for node in nodes)


#: One for all questions: making one costs more than asking. No proxy leads back to this machine.
_HTTP = httpx.Client(timeout=2, trust_env=False)


def _get(url: str, key: str = "") -> httpx.Response | None:
    """The answer if it is a good one."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = _HTTP.get(url, headers=headers)
    except httpx.HTTPError:
        return None
    return answer if answer.is_success else None

"""What an embedded farm consists of: the settings in force and the processes, from what a person set.

Where the settings name a broker, a store or a database of their own, that one is used and none is started.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from common.errors import Unavailable
from common.keys import write_private
from common.nodes import LAST_PASS_S
from common.settings import EmbeddedNode, Gateway, Keys, Settings, Storage
from coordinator.embedded.addresses import ANY, LOOPBACK, advertised_address, local_url
from coordinator.embedded.home import Home
from coordinator.embedded.ports import kept_ports
from coordinator.embedded.process import Component
from coordinator.embedded.ready import has_joined, is_healthy, is_listening
from coordinator.embedded.seaweed import PARTS, REGION, credentials, seaweed, weed_binary
from coordinator.embedded.valkey import broker_url, valkey

_PORTS = ("api", "gateway", "valkey", "s3-relay", *(f"{part}+grpc" for part in PARTS))


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrangement:
    #: In force: with keys, addresses and absolute paths.
    settings: Settings
    #: Started one stage after the other, ended in reverse.
    stages: tuple[tuple[Component, ...], ...]
    #: What a person should hear about it.
    remarks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Server:
    """What stands in for a server that the settings leave open."""

    components: tuple[Component, ...] = ()
    #: Of the settings.
    changes: dict[str, object] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def arrange(settings: Settings, home: Home) -> Arrangement:
    """Raises Unavailable where a part is missing on this machine, Invalid for an address it does not have."""
    advertised = advertised_address(settings.listen)
    ports = kept_ports(home.ports, _PORTS)
    port = settings.port or ports["api"]
    broker = _Server() if settings.broker_url else _valkey(settings, home, ports, advertised)
    store = _seaweed(settings, home, ports, advertised) if _wants_seaweed(settings.storage) else _Server()
    own = {
        "home": home.root,
        "port": port,
        "public_url": settings.public_url or f"http://{advertised}:{port}",
        "keys": _keys_in_force(settings, home),
        "node_lanes": _node_lanes(settings),
        # The farm itself calls nobody with the key of who started it.
        "key": None,
    }
    in_force = settings.model_copy(update=own | broker.changes | store.changes)
    in_force = in_force.model_copy(update={"gateway": _gateway_in_force(in_force, ports["gateway"])})
    nodes = [_node(node, in_force, home.key_file("node")) for node in settings.nodes]
    return Arrangement(
        settings=in_force,
        stages=(
            (*broker.components, *store.components),
            (_coordinator(in_force),),
            (_ingest(), *_gateway(in_force), *nodes),
        ),
        remarks=broker.remarks + store.remarks,
    )


def _node_lanes(settings: Settings) -> tuple[str, ...]:
    """Lanes that nodes with the node key may serve: its own nodes have that key."""
    own = [lane for node in settings.nodes for lane in node.lanes]
    return tuple(dict.fromkeys([*settings.node_lanes, *own]))


def _keys_in_force(settings: Settings, home: Home) -> Keys:
    """Generated ones where the settings give none; the home's key files hold the same."""
    keys: dict[str, SecretStr] = {}
    for name in Keys.model_fields:
        given = getattr(settings.keys, name) if name in settings.keys.model_fields_set else None
        if given is not None:
            write_private(home.keys / name, given.get_secret_value() + "\n")
        keys[name] = SecretStr(home.key(name))
    return Keys(**keys)


def _valkey(settings: Settings, home: Home, ports: dict[str, int], advertised: str) -> _Server:
    port, listen = ports["valkey"], settings.listen
    binds = (listen,) if listen in (LOOPBACK, ANY) else (LOOPBACK, listen)
    urls = {
        "broker_url": broker_url(home, port),
        "public_broker_url": f"redis://{advertised}:{port}/0",
    }
    return _Server(components=(valkey(home, port=port, binds=binds),), changes=dict(urls))


def _wants_seaweed(storage: Storage) -> bool:
    return storage.url.startswith("s3://") and not storage.endpoint and not storage.access_key


def _seaweed(settings: Settings, home: Home, ports: dict[str, int], advertised: str) -> _Server:
    """SeaweedFS; a directory where it has no build."""
    weed = weed_binary()
    if weed is None:
        remark = f"SeaweedFS is not available for this machine; images are stored in {home.pictures}"
        return _Server(changes={"storage": Storage(url=f"file:{home.pictures}")}, remarks=(remark,))
    parts = {part: ports[f"{part}+grpc"] for part in PARTS}
    components = [seaweed(home, weed=weed, ports=parts, bucket=urlsplit(settings.storage.url).netloc)]
    endpoint = public = f"http://{LOOPBACK}:{parts['s3']}"
    if settings.listen != LOOPBACK:
        components.append(_relay(settings.listen, ports["s3-relay"], parts["s3"]))
        public = f"http://{advertised}:{ports['s3-relay']}"
    access, secret = credentials(home)
    storage = settings.storage.model_copy(
        update={
            "endpoint": endpoint,
            "public_endpoint": public,
            "region": REGION,
            "access_key": access,
            "secret_key": SecretStr(secret),
        }
    )
    return _Server(components=tuple(components), changes={"storage": storage})


def _relay(listen: str, port: int, target: int) -> Component:
    ends = f"{listen}:{port}", f"{LOOPBACK}:{target}"
    command = (sys.executable, "-m", "coordinator.embedded.relay", *ends)
    return Component(name="s3-relay", command=command, address=f"{listen}:{port}")


def _coordinator(settings: Settings) -> Component:
    return Component(
        name="coordinator",
        command=(sys.executable, "-m", "coordinator.service"),
        # By default the C library keeps a heap for many a thread, as large as the largest request it served.
        environment={"MALLOC_ARENA_MAX": "2"},
        is_ready=lambda: is_healthy(settings),
        address=settings.public_url,
    )


def _gateway_in_force(settings: Settings, free_port: int) -> Gateway:
    """With its address for nodes, and that of the API on this machine."""
    gateway = settings.gateway
    if not gateway.listen:
        return gateway
    port = gateway.port or free_port
    told = settings.model_copy(
        update={
            "gateway": gateway.model_copy(
                update={"listen": advertised_address(gateway.listen, "gateway.listen"), "port": port}
            )
        }
    )
    changes = {"port": port, "public_url": told.gateway_url, "farm": gateway.farm or local_url(settings)}
    return gateway.model_copy(update=changes)


def _gateway(settings: Settings) -> tuple[Component, ...]:
    gateway = settings.gateway
    if not gateway.listen:
        return ()
    # It is the part that strangers reach, so it hears nothing else of the farm than it needs.
    told = {name: value for name, value in gateway.model_dump(mode="json").items() if value is not None}
    environment = {"FARM_HOME": str(settings.home)}
    environment |= {f"FARM_GATEWAY__{name.upper()}": str(value) for name, value in told.items()}
    return (
        Component(
            name="gateway",
            command=(sys.executable, "-m", "coordinator.gateway"),
            folder=settings.home / "gateway",
            environment=environment,
            is_ready=lambda: is_listening(gateway.listen, gateway.port),
            address=settings.gateway_url,
        ),
    )


def _ingest() -> Component:
    return Component(name="ingest", command=(sys.executable, "-m", "coordinator.ingest"))


def _node(node: EmbeddedNode, settings: Settings, key: Path) -> Component:
    program = shutil.which("farm-node", path=str(Path(sys.executable).parent)) or shutil.which("farm-node")
    if program is None:
        raise Unavailable(
            "`farm-node` is not installed: run `pip install 'shotfarm[node]'`, or configure no nodes"
        )
    command = [program, "run", "--farm", local_url(settings), "--key", str(key), "--name", node.name]
    # The port may be another one now.
    command += ["--moved"]
    if node.card:
        command += ["--card", node.card]
    if node.gpu:
        command += ["--gpu", str(node.gpu)]
    for lane in node.lanes:
        command += ["--lane", lane]
    return Component(
        name=node.name,
        command=tuple(command),
        is_ready=lambda: has_joined(node.name, settings),
        # Its last pass, then what it has to say and clear away.
        stop_within_s=LAST_PASS_S + 15.0,
    )

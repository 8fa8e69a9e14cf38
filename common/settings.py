"""All settings of the farm: defaults, overridden by `farm.yaml`, overridden by `FARM_*` variables.

Paths are relative to the folder of the settings file; `home` is relative to the current folder.

`FARM_MONEY__TARIFF_PER_KWH=0.25` sets `money.tariff_per_kwh`.
"""

from __future__ import annotations

import os
import socket
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from common.document.tree import Mapping
from common.document.typed import dotted, plain, read_document, sentence, validated
from common.errors import EmptyDocument, InvalidDocument, Problem
from common.lanes import PUBLIC, Lane, Lanes
from common.nodes import VRAM_CLASSES
from common.prompt_rules import PromptRule
from common.proper_names import proper_name
from common.units import Amount

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Price = Annotated[Amount, Field(ge=0)]


LaneName = Annotated[str, AfterValidator(lambda given: proper_name(given, "a lane"))]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_S = TypeVar("_S", bound=Section)


class Timing(Section):
    """All in seconds. Tests use a fifth of each value, with unchanged ratios."""

    #: Interval of heartbeats.
    heartbeat_s: Positive = 5
    #: A lease expires this long after its last heartbeat.
    lease_s: Positive = 20
    #: Interval at which the coordinator checks leases, nodes and deliveries.
    sweep_s: Positive = 2
    #: No lease expires for this long after the coordinator starts, stalls or sees its clock jump.
    grace_s: Positive = 30
    #: How long a claim waits for work.
    claim_wait_s: Positive = 20
    #: How long a node without tickets waits in one call for work and orders.
    park_wait_s: Positive = 45
    #: Longest that a call waits for an image.
    image_wait_s: Positive = 600
    #: Longest time without progress while rendering.
    stall_render_s: Positive = 180
    #: Longest time without progress while loading a model.
    stall_load_s: Positive = 600
    #: Longest time per image of a pass, and per prompt while encoding.
    hard_limit_s: Positive = 1800
    #: Ingest is asked again for a delivered shot that it has not answered for this long.
    ingest_again_s: Positive = 30
    #: Validity of an upload URL.
    upload_grant_s: Positive = 600
    #: Target duration of a batch.
    batch_s: Positive = 120
    #: An event stream ends after this long; its watcher reconnects and misses nothing.
    stream_s: Positive = 300
    #: A standby takes over after the leader has shown no sign of life for this long.
    leader_s: Positive = 10
    #: A node may run its self-test after this long in quarantine.
    quarantine_s: Positive = 600
    #: A failed shot may be retried on the same node after this long.
    retry_s: Positive = 30


Hour = Annotated[int, Field(ge=0, le=23)]
#: Stores are billed by decimal gigabytes.
BYTES_PER_GB = 10**9


class Tariff(Section):
    """Price of electricity in certain hours of each day."""

    #: First hour, and the hour at which it ends; `22` and `6` are the night.
    from_hour: Hour
    to_hour: Hour
    per_kwh: Price

    def holds(self, hour: int) -> bool:
        if self.from_hour <= self.to_hour:
            return self.from_hour <= hour < self.to_hour
        return hour >= self.from_hour or hour < self.to_hour


class CardPrice(Section):
    """What a card cost, and for how long it works."""

    price: Price
    #: Value after that time.
    resale: Price = Decimal(0)
    #: Hours of operation.
    life_hours: Positive

    @property
    def per_hour(self) -> Decimal:
        return (self.price - self.resale) / Decimal(self.life_hours)

    @model_validator(mode="after")
    def _loses_value(self) -> CardPrice:
        if self.resale > self.price:
            raise ValueError("`resale` must not exceed `price`")
        return self


class NodeMoney(Section):
    """What differs on one node; what is left out is as for the whole farm."""

    tariff_per_kwh: Price | None = None
    tariffs: tuple[Tariff, ...] | None = None
    host_watts: NotNegative | None = None
    #: Cost per hour of owning or renting its card.
    per_hour: Price | None = None


class Money(Section):
    """Prices are exact, watts are measured."""

    #: Name of the currency of all amounts.
    currency: str = "EUR"
    #: Price of electricity per kWh.
    tariff_per_kwh: Price = Decimal("0.3")
    #: Other prices of electricity at certain hours; the first that holds counts.
    tariffs: tuple[Tariff, ...] = ()
    #: Time zone of these hours, such as `Europe/Berlin`.
    time_zone: str = "UTC"
    #: Power draw of the rest of the machine while a card works, in watts.
    host_watts: NotNegative = 50
    #: Cost per hour of owning a card, by VRAM class: (price - resale value) / hours of operation.
    card_per_hour: dict[int, Price] = {
        size: Decimal(price)
        for size, price in {6: "0.005", 8: "0.01", 12: "0.02", 16: "0.03", 24: "0.06", 32: "0.1"}.items()
    }
    #: Price and life of cards, by VRAM class; replaces `card_per_hour` of these classes.
    card_prices: dict[int, CardPrice] = {}
    #: Cost per hour of renting a card, by VRAM class.
    rent_per_hour: dict[int, Price] = {}
    #: Power draw in watts by VRAM class, for cards that neither measure nor declare it.
    card_watts: dict[int, NotNegative] = {6: 120, 8: 150, 12: 170, 16: 165, 24: 350, 32: 450}
    #: Price of keeping one GB (10^9 bytes) for a month, and for how many months an image is kept.
    storage_per_gb_month: Price = Decimal(0)
    storage_months: NotNegative = 12
    #: Price of delivering one GB; each stored image counts as delivered once.
    traffic_per_gb: Price = Decimal(0)
    #: What differs on nodes, by their names.
    nodes: dict[str, NodeMoney] = {}

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"unknown time zone `{name}`; write one such as Europe/Berlin") from None
        return name

    def of_node(self, name: str) -> Money:
        """The rates of a node."""
        own = self.nodes.get(name)
        return self if own is None else self._with(own)

    def _with(self, own: NodeMoney) -> Money:
        same = ("tariff_per_kwh", "tariffs", "host_watts")
        changes = {name: value for name in same if (value := getattr(own, name)) is not None}
        if own.tariff_per_kwh is not None and own.tariffs is None:
            changes["tariffs"] = ()
        if own.per_hour is not None:
            hourly = dict.fromkeys(VRAM_CLASSES, own.per_hour)
            changes |= {"card_per_hour": hourly, "rent_per_hour": hourly, "card_prices": {}}
        return self.model_copy(update=changes | {"nodes": {}})

    def card_hour(self, vram_class: int) -> Decimal:
        """Cost per hour of owning a card."""
        bought = self.card_prices.get(vram_class)
        return bought.per_hour if bought else self.card_per_hour.get(vram_class, Decimal(0))

    def tariff(self, at: float | None = None) -> Decimal:
        """Price per kWh at a time in seconds since 1970; None: the mean of a day."""
        if not self.tariffs:
            return self.tariff_per_kwh
        hours = _by_hour(self.tariffs, self.tariff_per_kwh)
        if at is None:
            return sum(hours, Decimal(0)) / len(hours)
        return hours[datetime.fromtimestamp(at, ZoneInfo(self.time_zone)).hour]

    def keeping(self, size: int) -> Decimal:
        """Cost of keeping and delivering an image of `size` bytes."""
        per_gb = self.storage_per_gb_month * Decimal(self.storage_months) + self.traffic_per_gb
        return per_gb * size / BYTES_PER_GB


@cache
def _by_hour(tariffs: tuple[Tariff, ...], otherwise: Decimal) -> tuple[Decimal, ...]:
    """Price per kWh in each hour of a day."""
    held = ((tariff.per_kwh for tariff in tariffs if tariff.holds(hour)) for hour in range(24))
    return tuple(next(prices, otherwise) for prices in held)


class Retention(Section):
    """Jobs with counts and cost, images with their origin, and daily costs are always kept."""

    #: Days after the end of a job for which its shots, attempts and events are kept, and days for which
    #: the events of nodes are kept; 0 keeps them forever.
    details_days: Annotated[int, Field(ge=0)] = 90
    #: Days for which the audit log is kept; 0 keeps it forever.
    audit_days: Annotated[int, Field(ge=0)] = 365


class Embeddings(Section):
    """Embeddings of prompts, which nodes share through the store."""

    #: Whether nodes fetch the embeddings that others computed, and store theirs.
    shared: bool = True
    #: Hours for which the store keeps an embedding.
    keep_hours: Positive = 24


class Webhooks(Section):
    """Addresses that are told of events."""

    #: Whether they may be in a private network or on this machine.
    private_addresses: bool = False


class Storage(Section):
    #: `s3://bucket` or `file:FOLDER`.
    url: str = "s3://shotfarm"
    #: URL of the S3 endpoint; empty for AWS.
    endpoint: str = ""
    #: URL of the same endpoint for nodes and browsers; empty if it is `endpoint`.
    public_endpoint: str = ""
    region: str = "us-east-1"
    access_key: str = ""
    secret_key: SecretStr = SecretStr("")


class Keys(Section):
    """Bearer keys. Without any, the API listens on 127.0.0.1 only."""

    operator: SecretStr | None = None
    node: SecretStr | None = None
    ingest: SecretStr | None = None
    #: Secret that signs tickets.
    ticket: SecretStr = SecretStr("unset")


class Gateway(Section):
    """What nodes outside of the network reach: one port, and through it nothing but their calls."""

    #: Address on which it listens; empty if there is none.
    listen: str = ""
    #: Port; with 0, `farm up` chooses a free one once.
    port: Annotated[int, Field(ge=0, le=65535)] = 8443
    #: URL of the gateway for nodes; empty to use `listen` and `port`.
    public_url: str = ""
    #: Whether it speaks TLS; `false` behind a proxy that does, which adds `X-Forwarded-For`.
    tls: bool = True
    #: Files with a certificate and its private key (PEM) that nodes can check by its name; without them the
    #: gateway makes one of its own, whose key is named in invitations.
    certificate: Path | None = None
    certificate_key: Path | None = None
    #: Whether invitations name the key of `certificate` too, for one that no authority has signed.
    pinned: bool = False
    #: Whether uploads and downloads of nodes go through it; `false`: to the store, which then must be public.
    relay: bool = True
    #: URL of the API as the gateway reaches it; empty if that is its public URL.
    farm: str = ""


class ContentCredentials(Section):
    """The certificate with which the farm signs its images (C2PA); without one it signs none."""

    #: File with the certificate and those between it and its root (PEM).
    certificate: Path | None = None
    #: File with its private key (PEM, PKCS #8): P-256, P-384, Ed25519 or RSA.
    key: Path | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> ContentCredentials:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("give both `certificate` and `key`, or none of them")
        return self


class EmbeddedNode(Section):
    """A node that `farm up` starts on this machine."""

    name: str
    #: Card file that a CPU node simulates (see `manifests/cards/`); empty to detect the card.
    card: str = ""
    #: Index of the NVIDIA card, as in `nvidia-smi`, for a node without a card file.
    gpu: Annotated[int, Field(ge=0)] = 0
    lanes: tuple[str, ...] = ("public",)


class Settings(Section):
    #: Folder for all data of the embedded farm; mode 0700.
    home: Path = Path(".farm")
    #: Name by which a restarted coordinator resumes its lead immediately; default: host name and `home`.
    instance: str = ""
    #: SQLAlchemy URL of the ledger; empty for SQLite in `home`.
    database_url: str = ""
    #: redis:// URL of the broker; empty for the embedded Valkey.
    broker_url: str = ""
    #: URL of the same broker for nodes, without user and password; empty if it is `broker_url`.
    public_broker_url: str = ""
    #: Whether slow nodes leave the last images of a job to faster ones, by a horizon of the whole fleet.
    look_ahead: bool = True
    #: Whether a card leaves a model to others if it needs more than four times the energy per image of the
    #: best card in service; a manifest may say otherwise for its job. Needs `look_ahead`.
    eco: bool = True
    #: Address on which the API listens.
    listen: str = "127.0.0.1"
    #: Port of the API; 0 to choose a free port once and store it in `home`.
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    #: URL of the API for nodes and browsers; empty to use `listen` and `port`.
    public_url: str = ""
    #: Key with which commands call the farm; none: `keys.operator`.
    key: SecretStr | None = None
    #: Images of one job at the most, whatever its manifest allows.
    max_images: Annotated[int, Field(ge=1)] = 100_000
    #: Additional catalog files; a later entry replaces an earlier one of the same name.
    catalogs: tuple[Path, ...] = ()
    #: Folders with model files, in addition to the models shipped with the farm.
    models: tuple[Path, ...] = ()
    #: Nodes that `farm up` starts on this machine.
    nodes: tuple[EmbeddedNode, ...] = ()
    #: Lanes that nodes with the node key may serve; those of invited nodes are in their invitations.
    node_lanes: tuple[str, ...] = ("public",)
    #: Who may see the prompts of a lane, and what these must not say; one that is not here is private.
    lanes: dict[LaneName, Lane] = {}
    #: What no prompt may say, in any lane.
    prompt_rules: tuple[PromptRule, ...] = ()
    timing: Timing = Timing()
    retention: Retention = Retention()
    embeddings: Embeddings = Embeddings()
    webhooks: Webhooks = Webhooks()
    gateway: Gateway = Gateway()
    content_credentials: ContentCredentials = ContentCredentials()
    money: Money = Money()
    storage: Storage = Storage()
    keys: Keys = Keys()

    @field_validator("lanes")
    @classmethod
    def _public_is_public(cls, lanes: dict[str, Lane]) -> dict[str, Lane]:
        if PUBLIC in lanes and lanes[PUBLIC].privacy != "public":
            raise ValueError("lane `public` is for any node: write `privacy: public`, or use another lane")
        return lanes

    @property
    def all_lanes(self) -> Lanes:
        return Lanes(self.lanes, self.prompt_rules)

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{(self.home / 'ledger.sqlite').absolute()}"

    @property
    def own_catalog(self) -> Path:
        """The catalog file that `farm models add` writes."""
        return self.home / "catalog.yaml"

    @property
    def catalog_files(self) -> tuple[Path, ...]:
        """All additional catalog files in reading order; the last is `own_catalog`, if it exists."""
        return (*self.catalogs, *((self.own_catalog,) if self.own_catalog.is_file() else ()))

    @property
    def model_folders(self) -> tuple[Path, ...]:
        """All folders with model files; the last is that of `farm models add`."""
        return (*self.models, (self.home / "models").absolute())

    @property
    def instance_name(self) -> str:
        """Identifies this coordinator within the farm; unchanged across restarts."""
        return self.instance or f"{socket.gethostname()}:{self.home.absolute()}"

    @property
    def api_url(self) -> str:
        """The URL of the API for nodes, browsers and ingest."""
        host = "127.0.0.1" if self.listen in ("", "0.0.0.0", "::") else self.listen
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def gateway_url(self) -> str:
        """The URL of the gateway for nodes."""
        scheme = "https" if self.gateway.tls else "http"
        return self.gateway.public_url or f"{scheme}://{self.gateway.listen}:{self.gateway.port}"

    @property
    def gateway_certificate(self) -> Path:
        """The gateway's own certificate and key."""
        return (self.home / "gateway.pem").absolute()


class _Environment(Settings, BaseSettings):
    """Maps environment variables to settings."""

    model_config = SettingsConfigDict(env_prefix="FARM_", env_nested_delimiter="__")


def load_settings(path: Path | None = None) -> Settings:
    """Returns the settings from `path` (default: `farm.yaml` if it exists), overridden by `FARM_*` variables.

    Raises InvalidDocument with all wrong settings of the file or, if the file is valid, of the environment.
    """
    file = path or Path("farm.yaml")
    if path is not None and not path.is_file():
        raise InvalidDocument(str(path), [Problem("settings file not found")])
    written = _read(file) if file.is_file() else {}
    try:
        settings = Settings.model_validate(_over(written, EnvSettingsSource(_Environment)()))
    except ValidationError as error:
        problems = [Problem(sentence(Settings, item), _variable(item["loc"])) for item in error.errors()]
        raise InvalidDocument("environment", problems) from None
    except SettingsError as error:
        remedy = "lists and tables in `FARM_*` variables are JSON"
        raise InvalidDocument("environment", [Problem(f"{error}; {remedy}")]) from None
    return _anchored(settings, file.parent.absolute())


def _read(file: Path) -> dict[str, Any]:
    """Returns the settings in the file. Raises InvalidDocument if any of them is wrong."""
    try:
        text, problems = read_document(file)
    except EmptyDocument:
        return {}
    if not isinstance(text.root, Mapping):
        remark = "settings must be a mapping of names to values, such as `port: 8080`"
        raise InvalidDocument(str(file), [*problems, text.problem("", remark)])
    written: dict[str, Any] = plain(text.root)
    validated(Settings, written, "", text, problems)
    if problems:
        raise InvalidDocument(str(file), problems)
    return written


def _over(written: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
    """Merges nested mappings; a variable overrides the value in the file."""
    return written | {
        name: _over(written[name], value)
        if isinstance(value, dict) and isinstance(written.get(name), dict)
        else value
        for name, value in variables.items()
    }


def _variable(loc: tuple[str | int, ...]) -> str:
    """Returns the variable that sets the value at `loc`, with the path in its JSON: `FARM_NODES[0].card`."""
    given = {name.upper() for name in os.environ}
    names = ["FARM_" + "__".join(map(str, loc[:end])).upper() for end in range(len(loc) + 1)]
    end = max(end for end, name in enumerate(names) if name in given)
    return dotted(names[end], loc[end:])


def _files_below(folder: Path, section: _S, *names: str) -> _S:
    given = {name: folder / file for name in names if (file := getattr(section, name))}
    return section.model_copy(update=given)


def _anchored(settings: Settings, folder: Path) -> Settings:
    """Returns the settings with paths resolved relative to the folder of the settings file."""
    store = settings.storage
    if store.url.startswith("file:"):
        store = store.model_copy(update={"url": f"file:{folder / store.url.removeprefix('file:')}"})
    nodes = tuple(
        node.model_copy(update={"card": str(folder / node.card)}) if node.card else node
        for node in settings.nodes
    )
    changes = {
        "gateway": _files_below(folder, settings.gateway, "certificate", "certificate_key"),
        "content_credentials": _files_below(folder, settings.content_credentials, "certificate", "key"),
        "catalogs": tuple(folder / path for path in settings.catalogs),
        "models": tuple(folder / path for path in settings.models),
        "nodes": nodes,
        "storage": store,
    }
    return settings.model_copy(update=changes)

"""Every setting of the farm, read in this one place: defaults, then `farm.yaml`, then `FARM_*` variables.

Paths count from the folder of the settings file, `home` from the current one.

`FARM_MONEY__TARIFF_PER_KWH=0.25` sets `money.tariff_per_kwh`.
"""

from __future__ import annotations

import os
import socket
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from common.document.nodes import Mapping
from common.document.typed import dotted, plain, read_document, sentence, validated
from common.errors import EmptyDocument, InvalidDocument, Problem

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Price = Annotated[Decimal, Field(ge=0)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Timing(Section):
    """Seconds. Tests run all of them at a fifth, ratios unchanged."""

    heartbeat_s: Positive = 5
    lease_s: Positive = 20
    sweep_s: Positive = 2
    #: No lease expires this long after the coordinator's start, a stall or a clock jump.
    grace_s: Positive = 30
    claim_wait_s: Positive = 20
    stall_render_s: Positive = 180
    stall_load_s: Positive = 600
    hard_limit_s: Positive = 1800
    #: A delivered shot that ingest has not answered for is asked for again.
    ingest_again_s: Positive = 30
    upload_grant_s: Positive = 600
    #: What a batch should take.
    batch_s: Positive = 120
    #: A leading coordinator that shows no sign of life for so long is replaced by one that stands by.
    leader_s: Positive = 10
    #: After this long in quarantine a node may prove itself by a render.
    quarantine_s: Positive = 600
    #: A shot is tried again on the node where it failed by its own fault, once this long has passed.
    retry_s: Positive = 30


class Money(Section):
    """Prices are exact, watts are measured."""

    currency: str = "EUR"
    #: Per kWh.
    tariff_per_kwh: Price = Decimal("0.3")
    #: Drawn by the rest of the machine while a card works.
    host_watts: NotNegative = 50
    #: Per hour, by VRAM class: what a card costs to own (price less resale over its hours on).
    card_per_hour: dict[int, Price] = {
        size: Decimal(price)
        for size, price in {6: "0.005", 8: "0.01", 12: "0.02", 16: "0.03", 24: "0.06", 32: "0.1"}.items()
    }
    #: Per hour, by VRAM class: what a rented card costs.
    rent_per_hour: dict[int, Price] = {}
    #: Watts assumed by VRAM class where nothing measures or declares them.
    card_watts: dict[int, NotNegative] = {6: 120, 8: 150, 12: 170, 16: 165, 24: 350, 32: 450}


class Storage(Section):
    #: `s3://bucket` or `file:FOLDER`.
    url: str = "s3://shotfarm"
    #: S3 endpoint; empty: AWS.
    endpoint: str = ""
    #: The same as nodes and browsers reach it; empty: `endpoint`.
    public_endpoint: str = ""
    region: str = "us-east-1"
    access_key: str = ""
    secret_key: SecretStr = SecretStr("")


class Keys(Section):
    """Bearer keys. With none configured the API answers on 127.0.0.1 only."""

    operator: SecretStr | None = None
    node: SecretStr | None = None
    ingest: SecretStr | None = None
    #: Signs tickets.
    ticket: SecretStr = SecretStr("unset")


class EmbeddedNode(Section):
    """A node that `farm up` starts on this machine."""

    name: str
    #: Card file that a CPU node poses as (see `manifests/cards/`); empty: probe the machine.
    card: str = ""
    #: The NVIDIA card of a node without a card file, as `nvidia-smi` counts them.
    gpu: Annotated[int, Field(ge=0)] = 0
    lanes: tuple[str, ...] = ("public",)


class Settings(Section):
    #: Everything the embedded farm keeps; 0700.
    home: Path = Path(".farm")
    #: Whose lead a restarted coordinator resumes at once; empty: made from the host's name and `home`.
    instance: str = ""
    #: Empty: SQLite in `home`.
    database_url: str = ""
    #: Empty: the embedded Valkey.
    broker_url: str = ""
    #: The broker as nodes reach it, without user and password; empty: `broker_url`.
    public_broker_url: str = ""
    listen: str = "127.0.0.1"
    #: 0: any free one, kept in `home` from then on.
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    #: The API as nodes and browsers reach it; empty: made from `listen` and `port`.
    public_url: str = ""
    #: Further catalog files, after the built-in one; a later entry replaces an earlier of its name.
    catalogs: tuple[Path, ...] = ()
    #: Where nodes look for model files, after those shipped with the farm.
    models: tuple[Path, ...] = ()
    nodes: tuple[EmbeddedNode, ...] = ()
    timing: Timing = Timing()
    money: Money = Money()
    storage: Storage = Storage()
    keys: Keys = Keys()

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{(self.home / 'ledger.sqlite').absolute()}"

    @property
    def instance_name(self) -> str:
        """What tells this coordinator from any other of the same farm, and stays over its restarts."""
        return self.instance or f"{socket.gethostname()}:{self.home.absolute()}"

    @property
    def api_url(self) -> str:
        """Where nodes, browsers and ingest reach the API."""
        host = "127.0.0.1" if self.listen in ("", "0.0.0.0", "::") else self.listen
        return self.public_url or f"http://{host}:{self.port}"


class _Environment(Settings, BaseSettings):
    """How variables name the settings."""

    model_config = SettingsConfigDict(env_prefix="FARM_", env_nested_delimiter="__")


def load_settings(path: Path | None = None) -> Settings:
    """Settings from `path` (default `farm.yaml` where it exists) under the environment's `FARM_*`.

    Raises InvalidDocument with every wrong setting of the file, or else of the environment.
    """
    file = path or Path("farm.yaml")
    if path is not None and not path.is_file():
        raise InvalidDocument(str(path), [Problem("no such settings file")])
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
    """What the file sets; raises InvalidDocument where any of it is no setting."""
    try:
        text, problems = read_document(file)
    except EmptyDocument:
        return {}
    if not isinstance(text.root, Mapping):
        remark = "settings are a mapping of names to values, such as `port: 8080`"
        raise InvalidDocument(str(file), [*problems, text.problem("", remark)])
    written: dict[str, Any] = plain(text.root)
    validated(Settings, written, "", text, problems)
    if problems:
        raise InvalidDocument(str(file), problems)
    return written


def _over(written: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
    """Both, tables merged; where both set a value, that of the variable."""
    return written | {
        name: _over(written[name], value)
        if isinstance(value, dict) and isinstance(written.get(name), dict)
        else value
        for name, value in variables.items()
    }


def _variable(loc: tuple[str | int, ...]) -> str:
    """The variable that sets what stands at `loc`, and the way on inside its JSON: `FARM_NODES[0].card`."""
    given = {name.upper() for name in os.environ}
    names = ["FARM_" + "__".join(map(str, loc[:end])).upper() for end in range(len(loc) + 1)]
    end = max(end for end, name in enumerate(names) if name in given)
    return dotted(names[end], loc[end:])


def _anchored(settings: Settings, folder: Path) -> Settings:
    """With the paths that a settings file names counted from its own folder."""
    store = settings.storage
    if store.url.startswith("file:"):
        store = store.model_copy(update={"url": f"file:{folder / store.url.removeprefix('file:')}"})
    nodes = tuple(
        node.model_copy(update={"card": str(folder / node.card)}) if node.card else node
        for node in settings.nodes
    )
    changes = {
        "catalogs": tuple(folder / path for path in settings.catalogs),
        "models": tuple(folder / path for path in settings.models),
        "nodes": nodes,
        "storage": store,
    }
    return settings.model_copy(update=changes)

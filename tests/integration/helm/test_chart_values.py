"""values.schema.json: closed, described, and what it and the chart refuse."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from common.settings import Settings
from tests.integration.helm.rendering import CHART, VALUES, Release, Renderer, Values, helm_sdkpy

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
LEAST = VALUES["least"]
GATEWAY = {"enabled": True, "publicUrl": "https://farm.example"}
INGRESS = {"enabled": True, "host": "farm.example", "tlsSecret": "tls"}


def properties(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of the schema by its path."""
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}{name}", inner
        yield from properties(inner, f"{path}{name}.")
    for more in (schema.get("additionalProperties"), schema.get("items")):
        if isinstance(more, dict):
            yield from properties(more, f"{path}*.")


def leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{path}{name}"
        if isinstance(value, dict) and name != "resources":
            yield from leaves(value, f"{path}{name}.")


def test_every_value_is_described() -> None:
    assert len(dict(properties(SCHEMA))) > 100
    assert [path for path, inner in properties(SCHEMA) if not inner.get("description")] == []


def test_every_object_with_names_of_its_own_is_closed() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    objects = {path: inner for path, inner in properties(SCHEMA) if "properties" in inner}
    assert [path for path, inner in objects.items() if inner.get("additionalProperties") is not False] == []


def test_the_chart_has_a_default_for_every_value_of_the_schema() -> None:
    free = ("global", "settings", "pools", "image.pullSecrets.", "httpRoute.parentRefs.")
    described = {path for path, _ in properties(SCHEMA) if not path.startswith(free)}
    named = {path for path in leaves(DEFAULTS) if not path.startswith(free)}
    assert {path for path in described if "*" not in path} == named
    assert {"settings", "pools"} <= DEFAULTS.keys()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "existingSecret"),
        (LEAST | {"trial": {"enabled": True}}, "exclude each other"),
        ({"trial": {"enabled": True}, "coordinator": {"replicas": 2}}, "SQLite"),
        (LEAST | {"pools": {"a": {"vramClass": 10}}}, "vramClass"),
        (LEAST | {"pools": {"a": {"vramClass": 8, "gpu": 1}}}, "gpu"),
        (LEAST | {"pools": {"a": {"vramClass": 8, "terms": "lent"}}}, "terms"),
        (LEAST | {"pools": {"a": {"vramClass": 8, "cuda": 12.6}}}, "cuda"),
        (LEAST | {"pools": {"a-name-that-is-too-long": {"vramClass": 8}}}, "too-long"),
        (
            LEAST | {"pools": {"a": {"vramClass": 8, "cache": {"claim": "c", "hostPath": "/c"}}}},
            "pools.a.cache",
        ),
        (LEAST | {"pools": {"a": {"vramClass": 8, "scaling": {"max": 2}}}}, "keda.prometheusUrl"),
        (LEAST | {"pools": {"a": {"vramClass": 8, "scaling": {"min": 2}}}}, "max"),
        (LEAST | {"money": {"tariffPerKwh": "cheap"}}, "tariffPerKwh"),
        (LEAST | {"storage": {"url": "https://bucket"}}, "url"),
        (LEAST | {"catalogs": {"mine.txt": "models: {}"}}, "mine.txt"),
        (LEAST | {"settings": {"timing": {"quarantine_s": "long"}}}, "quarantine_s"),
        (LEAST | {"settings": {"keys": {"operator": "secret"}}}, "keys"),
        (LEAST | {"coordinator": {"replicas": 0}}, "replicas"),
        (LEAST | {"ingress": {"enabled": True}}, "ingress.host"),
        (LEAST | {"ingress": {"enabled": True, "host": "farm.example"}}, "networkPolicy.clients"),
        (LEAST | {"httpRoute": {"enabled": True}}, "httpRoute.parentRefs"),
        (LEAST | {"metrics": {"serviceMonitor": {"enabled": True}}}, "scope metrics"),
        (
            LEAST | {"metrics": {"serviceMonitor": {"enabled": True, "keySecret": {"name": "key"}}}},
            "networkPolicy.monitoring",
        ),
        (
            LEAST | {"metrics": {"serviceMonitor": {"enabled": True, "keySecret": {"name": "farm-secrets"}}}},
            "the Secret with the keys of the farm",
        ),
        (LEAST | {"gateway": {"enabled": True}}, "gateway.publicUrl"),
        (LEAST | {"gateway": GATEWAY | {"publicUrl": "http://farm.example"}}, "publicUrl"),
        (LEAST | {"gateway": GATEWAY | {"replicas": 0}}, "replicas"),
        (LEAST | {"gateway": GATEWAY | {"service": {"type": "ExternalName"}}}, "type"),
        (LEAST | {"gateway": GATEWAY | {"certificate": {"pinned": True}}}, "existingSecret, which is empty"),
        (LEAST | {"gateway": GATEWAY | {"ingress": {"enabled": True, "host": "a.example"}}}, "tlsSecret"),
        (LEAST | {"gateway": GATEWAY | {"ingress": INGRESS}}, "networkPolicy.gateway.from"),
        (
            LEAST | {"gateway": GATEWAY | {"ingress": INGRESS, "certificate": {"existingSecret": "tls"}}},
            "exclude each other",
        ),
    ],
)
def test_wrong_values_are_refused_by_name(renderer: Renderer, values: Values, said: str) -> None:
    with pytest.raises(helm_sdkpy.InstallError, match=said):
        renderer.render(values)


def test_every_setting_that_has_no_value_of_its_own_can_be_given_by_its_name() -> None:
    own = {"currency", "tariff_per_kwh", "host_watts", "card_per_hour", "rent_per_hour"}
    shape: dict[str, Any] = Settings.model_json_schema()
    for name, inner in SCHEMA["properties"]["settings"]["properties"].items():
        section = shape["$defs"].get(shape["properties"][name].get("$ref", "").rpartition("/")[2])
        if section is not None and name != "timing":
            assert set(inner["properties"]) == set(section["properties"]) - own


def test_values_do_not_mention_a_secret_of_their_own(release: Release) -> None:
    """Keys reach pods by reference, and stand in no other object than a Secret."""
    secrets = {value for secret in release.kind("Secret") for value in secret["stringData"].values()}
    others = json.dumps([document for document in release.documents if document["kind"] != "Secret"])
    assert not [value for value in secrets if value in others]


def test_a_trial_generates_another_key_for_everything(renderer: Renderer) -> None:
    again = copy.deepcopy(VALUES["trial"]) | {"podAnnotations": {"again": "yes"}}
    keys = [
        value
        for values in (VALUES["trial"], again)
        for name, value in renderer.render(values).one("Secret", "trial")["stringData"].items()
        if name.endswith("-key") or name == "broker-password"
    ]
    assert len(set(keys)) == 14
    assert min(map(len, keys)) >= 40

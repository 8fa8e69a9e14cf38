"""The chart, rendered by Helm's own engine. It was never admitted by a real Kubernetes API server."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute

from common.settings import Settings, Timing, load_settings
from coordinator.http import farm_routes
from tests.integration.helm.kube_stub import kube_api
from tests.require import require_module

helm_sdkpy = require_module("helm_sdkpy", "pip install --ignore-requires-python helm-sdkpy==0.1.32")
kubernetes_validate = require_module("kubernetes_validate", "pip install kubernetes-validate")

CHART = Path(__file__).parents[3] / "helm"
SECRET = {"existingSecret": "farm-secrets"}
POOLS = {
    "pools": {
        "old": {
            "vramClass": 8,
            "replicas": 3,
            "lanes": ["public", "night"],
            "owner": "Ann: studio",
            "terms": "rented",
            "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-GeForce-GTX-1070"},
            "modelsClaim": "models",
            "runtimeClassName": "nvidia",
        },
        "large": {"replicas": 0},
    }
}
FULL = (
    SECRET
    | POOLS
    | {
        "coordinator": {"serviceMonitor": {"enabled": True}},
        "image": {"repository": "registry.example/shotfarm", "pullSecrets": [{"name": "pull"}]},
        "storage": {"url": "s3://pictures", "endpoint": "https://s3.example"},
        "podAnnotations": {"team": "studio"},
        "catalogs": {"b.yaml": "models: {}\n", "a.yaml": "models:\n  mine: {like: shotfarm-demo}\n"},
        "settings": {"timing": {"quarantine_s": 300, "sweep_s": 0.5}, "money": {"card_watts": {"8": 140}}},
    }
)


def render(tmp_path: Path, values: dict[str, Any], kubernetes: str = "1.33") -> list[dict[str, Any]]:
    with kube_api(tmp_path, kubernetes) as config, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELM_DRIVER", "memory")
        install = helm_sdkpy.Install(helm_sdkpy.Configuration(kubeconfig=str(config)))
        release = asyncio.run(install.run("night", str(CHART), values=values, wait=False))
    return [document for document in yaml.safe_load_all(release["manifest"]) if document]


def pods(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [document["spec"]["template"] for document in documents if document["kind"] == "Deployment"]


@pytest.mark.parametrize("kubernetes", ["1.29", "1.33", "1.37"])
@pytest.mark.parametrize("values", [SECRET, FULL], ids=["defaults", "everything"])
def test_every_rendered_object_is_valid_kubernetes(
    tmp_path: Path, values: dict[str, Any], kubernetes: str
) -> None:
    documents = render(tmp_path, values, kubernetes)
    core = [document for document in documents if "monitoring.coreos.com" not in document["apiVersion"]]
    assert {document["kind"] for document in core} == {"Deployment", "Service", "ServiceAccount", "ConfigMap"}
    for document in core:
        kubernetes_validate.validate(document, kubernetes, strict=True)


def test_a_kubernetes_that_is_too_old_is_refused(tmp_path: Path) -> None:
    with pytest.raises(helm_sdkpy.InstallError, match="kubeVersion"):
        render(tmp_path, SECRET, "1.28")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "existingSecret"),
        (SECRET | {"pools": {"a": {"vramClass": 10}}}, "vramClass"),
        (SECRET | {"pools": {"a": {"vramClass": 8, "gpu": 1}}}, "gpu"),
        (SECRET | {"pools": {"a": {"vramClass": 8, "terms": "lent"}}}, "terms"),
        (SECRET | {"money": {"tariffPerKwh": "cheap"}}, "tariffPerKwh"),
        (SECRET | {"storage": {"url": "https://bucket"}}, "url"),
        (SECRET | {"catalogs": {"mine.txt": "models: {}"}}, "mine.txt"),
        (SECRET | {"settings": {"timing": {"quarantine_s": "long"}}}, "quarantine_s"),
        (SECRET | {"settings": {"keys": {"operator": "secret"}}}, "keys"),
        (SECRET | {"coordinator": {"replicas": 0}}, "replicas"),
    ],
)
def test_wrong_values_are_refused_by_name(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    with pytest.raises(helm_sdkpy.InstallError, match=said):
        render(tmp_path, values)


def test_selectors_match_their_pods_and_the_service_its_pod(tmp_path: Path) -> None:
    documents = render(tmp_path, FULL)
    deployments = [document for document in documents if document["kind"] == "Deployment"]
    for deployment in deployments:
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    selectors = [tuple(sorted(d["spec"]["selector"]["matchLabels"].items())) for d in deployments]
    assert len(set(selectors)) == len(selectors)
    (service,) = [document for document in documents if document["kind"] == "Service"]
    chosen = [
        d
        for d in deployments
        if service["spec"]["selector"].items() <= d["spec"]["template"]["metadata"]["labels"].items()
    ]
    assert [d["metadata"]["name"] for d in chosen] == ["night-coordinator"]


def test_names_are_dns_labels(tmp_path: Path) -> None:
    for document in render(tmp_path, FULL):
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", document["metadata"]["name"])


def test_pods_run_restricted_and_without_a_token(tmp_path: Path) -> None:
    for pod in pods(render(tmp_path, FULL)):
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["spec"]["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}


def settings_variables() -> set[str]:
    names = set()
    for name, field in Settings.model_fields.items():
        section = field.annotation
        inner = getattr(section, "model_fields", None)
        names |= {f"FARM_{name}__{key}".upper() for key in inner} if inner else {f"FARM_{name}".upper()}
    return names


def test_every_farm_variable_is_a_setting(tmp_path: Path) -> None:
    used = {
        entry["name"]
        for pod in pods(render(tmp_path, FULL))
        for container in pod["spec"]["containers"]
        for entry in container.get("env", [])
        if entry["name"].startswith("FARM_")
    }
    assert len(used) > 10
    assert used <= settings_variables()


def test_no_secret_stands_in_the_manifests(tmp_path: Path) -> None:
    for pod in pods(render(tmp_path, FULL)):
        for container in pod["spec"]["containers"]:
            for entry in container.get("env", []):
                if re.search(r"KEY|SECRET|DATABASE_URL|FARM_BROKER_URL", entry["name"]):
                    assert entry["valueFrom"]["secretKeyRef"]["name"] == "farm-secrets"


def environment(documents: list[dict[str, Any]], deployment: str) -> dict[str, str]:
    """The variables of a deployment that are no secrets."""
    (found,) = [
        d for d in documents if d["metadata"]["name"] == f"night-{deployment}" and d["kind"] == "Deployment"
    ]
    entries = found["spec"]["template"]["spec"]["containers"][0]["env"]
    return {entry["name"]: entry["value"] for entry in entries if "value" in entry}


def as_read(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_rates_reach_the_program_as_it_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = render(tmp_path, SECRET | {"money": {"cardPerHour": {"8": 0.02, "24": 0.07}}})
    money = as_read(environment(documents, "coordinator"), monkeypatch).money
    assert (money.card_per_hour, money.currency) == ({8: Decimal("0.02"), 24: Decimal("0.07")}, "EUR")


@pytest.mark.parametrize("deployment", ["coordinator", "ingest"])
def test_every_time_of_the_farm_can_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deployment: str
) -> None:
    fifth = {name: value / 5 for name, value in Timing().model_dump().items()}
    documents = render(
        tmp_path, SECRET | {"settings": {"timing": fifth, "money": {"card_watts": {"8": 140}}}}
    )
    settings = as_read(environment(documents, deployment), monkeypatch)
    assert settings.timing == Timing(**fifth)
    assert settings.money.card_watts == {8: 140}


@pytest.mark.parametrize("deployment", ["coordinator", "ingest", "node-old"])
def test_catalog_files_are_mounted_where_the_program_looks_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deployment: str
) -> None:
    documents = render(tmp_path, FULL)
    (files,) = [d["data"] for d in documents if d["metadata"]["name"] == "night-catalogs"]
    assert files == FULL["catalogs"]
    (pod,) = [
        d["spec"]["template"]["spec"]
        for d in documents
        if d["kind"] == "Deployment" and d["metadata"]["name"] == f"night-{deployment}"
    ]
    (volume,) = [v["name"] for v in pod["volumes"] if v.get("configMap", {}).get("name") == "night-catalogs"]
    (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == volume]
    settings = as_read(environment(documents, deployment), monkeypatch)
    assert settings.catalogs == tuple(Path(mount["mountPath"]) / name for name in sorted(files))


def test_a_changed_catalog_starts_every_pod_again(tmp_path: Path) -> None:
    changed = FULL | {"catalogs": {"a.yaml": "models: {}\n"}}
    notes = [[pod["metadata"]["annotations"] for pod in pods(render(tmp_path, v))] for v in (FULL, changed)]
    assert all(before != after for before, after in zip(*notes, strict=True))
    assert all(note["team"] == "studio" for note in notes[0])


def test_a_standby_lives_but_gets_no_calls(tmp_path: Path) -> None:
    documents = render(tmp_path, SECRET | {"coordinator": {"replicas": 2}})
    (coordinator,) = [
        d for d in documents if d["metadata"]["name"] == "night-coordinator" and "replicas" in d["spec"]
    ]
    (container,) = coordinator["spec"]["template"]["spec"]["containers"]
    assert coordinator["spec"]["replicas"] == 2
    # The one says that it leads, the other that the process runs.
    assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    answered = {route.path for route in farm_routes.router.routes if isinstance(route, APIRoute)}
    assert {"/healthz", "/livez"} <= answered


def test_a_pool_is_one_gpu_a_pod_of_its_class(tmp_path: Path) -> None:
    documents = render(tmp_path, FULL)
    (old,) = [d for d in documents if d["metadata"]["name"] == "night-node-old"]
    (container,) = old["spec"]["template"]["spec"]["containers"]
    assert old["spec"]["replicas"] == 3
    assert old["spec"]["template"]["metadata"]["labels"]["shotfarm/vram-class"] == "8"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["args"].count("--lane=night") == 1
    assert "--models=/models" in container["args"]


def test_a_pool_says_whose_its_cards_are_and_who_pays(tmp_path: Path) -> None:
    documents = {document["metadata"]["name"]: document for document in render(tmp_path, FULL)}

    def arguments(pool: str) -> list[str]:
        (container,) = documents[f"night-node-{pool}"]["spec"]["template"]["spec"]["containers"]
        return list(container["args"])

    assert {"--owner=Ann: studio", "--terms=rented"} <= set(arguments("old"))
    assert {"--owner=farm", "--terms=owned"} <= set(arguments("large"))


def test_every_node_flag_exists_in_the_program(tmp_path: Path) -> None:
    import typer

    from gpu_node.cli import app

    run = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    known = {option for parameter in run.params for option in parameter.opts}
    for pod in pods(render(tmp_path, FULL)):
        for container in pod["spec"]["containers"]:
            flags = {
                argument.split("=")[0] for argument in container.get("args", []) if argument.startswith("--")
            }
            assert flags <= known


def test_the_dashboards_travel_whole(tmp_path: Path) -> None:
    (config_map,) = [d for d in render(tmp_path, SECRET) if d["kind"] == "ConfigMap"]
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert config_map["data"] == {
        file.name: file.read_text() for file in (CHART / "dashboards").glob("*.json")
    }

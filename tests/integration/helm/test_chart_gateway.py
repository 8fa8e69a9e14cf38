"""The gateway of the chart: the one part that is reached from outside, and known by a key that is kept."""

from __future__ import annotations

import base64
import copy
from pathlib import Path
from typing import Any

import pytest

from common.certificates import own_certificate, pin_for_nodes, pin_of
from common.errors import Invalid
from common.settings import Settings
from coordinator.gateway.allowed_calls import allowed_call
from coordinator.gateway.server import tls_context
from tests.integration.helm.rendering import VALUES, Document, Release, Renderer, Values
from tests.integration.helm.test_chart import as_read, policies_of

LEAST = VALUES["least"]
OWN = {"enabled": True, "publicUrl": "https://203.0.113.7"}


def with_gateway(**more: Any) -> Values:
    return LEAST | {"gateway": OWN | more}


def mounted(release: Release, pod: str, secret: Document, folder: Path) -> dict[str, Path]:
    """Where a pod has files of a Secret, and these files, below `folder`."""
    spec = release.pods()[f"night-{pod}"]["spec"]
    sources = {
        volume["name"]: {item["path"]: item["key"] for item in volume["secret"]["items"]}
        for volume in spec["volumes"]
        if volume.get("secret", {}).get("secretName") == secret["metadata"]["name"]
    }
    found = {}
    for mount in release.container(pod)["volumeMounts"]:
        for path, key in sources.get(mount["name"], {}).items():
            file = found[f"{mount['mountPath']}/{path}"] = folder / f"{pod}-{path}"
            file.write_text(secret["stringData"][key])
    return found


def seen(release: Release, pod: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that a pod reads, with the files that it finds there."""
    with monkeypatch.context() as patch:
        settings = as_read(release.plain_environment(pod), patch)
    gateway = settings.gateway
    found = {
        name: files[str(path)]
        for name in ("certificate", "certificate_key")
        if (path := getattr(gateway, name)) is not None
    }
    return settings.model_copy(update={"gateway": gateway.model_copy(update=found)})


def test_the_gateway_shows_the_key_that_the_coordinator_names_in_invitations(
    cluster: Release, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = cluster.one("Secret", "gateway")
    files = {pod: mounted(cluster, pod, secret, tmp_path) for pod in ("coordinator", "gateway")}
    told, shown = (seen(cluster, pod, some, monkeypatch) for pod, some in files.items())
    assert tls_context(shown) is not None
    assert shown.gateway.certificate is not None
    assert pin_for_nodes(told) == pin_for_nodes(shown) == pin_of(shown.gateway.certificate)
    for settings in (told, shown):
        assert settings.gateway_url == "https://nodes.farm.example"
        assert settings.gateway.listen
    # The private key is the gateway's alone.
    assert not any("PRIVATE" in file.read_text() for file in files["coordinator"].values())
    # One that does not belong to the certificate would be refused.
    other = shown.gateway.model_copy(update={"certificate_key": told.gateway.certificate})
    with pytest.raises(Invalid, match="cannot be used"):
        tls_context(shown.model_copy(update={"gateway": other}))


def test_another_release_makes_another_key_and_an_upgrade_keeps_it(renderer: Renderer) -> None:
    first = renderer.render(with_gateway()).one("Secret", "gateway")
    assert first["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert (
        renderer.render(with_gateway(replicas=2)).one("Secret", "gateway")["stringData"]
        != first["stringData"]
    )

    again = renderer.render_over(as_stored(first), with_gateway(replicas=2)).one("Secret", "gateway")

    assert again["stringData"] == first["stringData"]


def as_stored(secret: Document) -> Document:
    """As a cluster has it after Helm installed it."""
    stored = copy.deepcopy(secret)
    data = {name: base64.b64encode(text.encode()).decode() for name, text in stored.pop("stringData").items()}
    release = {"meta.helm.sh/release-name": "night", "meta.helm.sh/release-namespace": "default"}
    stored["metadata"] |= {
        "namespace": "default",
        "uid": "1",
        "resourceVersion": "1",
        "annotations": stored["metadata"]["annotations"] | release,
    }
    return stored | {"data": data}


@pytest.mark.parametrize("pinned", [True, False])
def test_a_certificate_of_the_operator_is_pinned_or_checked_by_its_name(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, pinned: bool
) -> None:
    release = renderer.render(with_gateway(certificate={"existingSecret": "farm-tls", "pinned": pinned}))
    assert release.kind("Secret") == []
    text = own_certificate(tmp_path / "own.pem").read_text()
    secret = {"metadata": {"name": "farm-tls"}, "stringData": {"tls.crt": text, "tls.key": text}}
    for pod in ("coordinator", "gateway"):
        settings = seen(release, pod, mounted(release, pod, secret, tmp_path), monkeypatch)
        assert pin_for_nodes(settings) == (pin_of(tmp_path / "own.pem") if pinned else "")


def test_behind_an_ingress_it_speaks_plain_http_to_the_controller_alone(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = renderer.render(VALUES["gateway"])
    for pod in ("coordinator", "gateway"):
        settings = as_read(release.plain_environment(pod), monkeypatch)
        assert (settings.gateway.tls, settings.gateway.relay) == (False, False)
        assert settings.gateway_url == "https://nodes.farm.example"
        assert pin_for_nodes(settings) == ""
    assert tls_context(settings) is None
    (ingress,) = release.kind("Ingress")
    assert ingress["spec"]["tls"] == [{"hosts": ["nodes.farm.example"], "secretName": "nodes-tls"}]
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    service = release.one("Service", "gateway")
    assert path["backend"]["service"]["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    assert service["spec"]["type"] == "ClusterIP"
    assert release.kind("Secret") == []
    (rule,) = inward(release, "gateway")
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app": "ingress-nginx"}}}]
    # The store is public then, and nobody's errand.
    assert calls(release) == {"coordinator": 8080}


def inward(release: Release, pod: str) -> list[Document]:
    return [rule for policy in policies_of(release, pod) for rule in policy.get("ingress", ())]


def calls(release: Release) -> dict[str, int]:
    """Whom the gateway calls, with the port; an address that is not a pod of the release is `outside`."""
    rules = [r for policy in policies_of(release, "gateway") for r in policy.get("egress", ())]
    found = {}
    for rule in rules:
        ports = {port["port"] for port in rule["ports"]} - {53}
        for port in ports:
            (peer,) = rule.get("to") or [{}]
            labels = peer.get("podSelector", {}).get("matchLabels", {})
            found[labels.get("app.kubernetes.io/component", "outside")] = port
    return found


def test_of_all_parts_only_the_gateway_is_reached_from_everywhere(cluster: Release) -> None:
    """Of the API those that the values name, for people and Prometheus."""
    for name in cluster.pods():
        pod = name.removeprefix("night-")
        from_everywhere = [rule["ports"] for rule in inward(cluster, pod) if not rule.get("from")]
        assert from_everywhere == ([[{"port": 8443, "protocol": "TCP"}]] if pod == "gateway" else [])
    assert calls(cluster) == {"coordinator": 8080, "outside": 443}
    types = {one["metadata"]["name"]: one["spec"].get("type") for one in cluster.kind("Service")}
    assert types == {"night-coordinator": None, "night-nodes": None, "night-gateway": "LoadBalancer"}


def test_a_gateway_has_no_key_of_the_farm(cluster: Release) -> None:
    assert [entry for entry in cluster.container("gateway")["env"] if "valueFrom" in entry] == []
    assert not {"FARM_BROKER_URL", "FARM_DATABASE_URL"} & cluster.plain_environment("gateway").keys()


def test_probes_ask_what_the_gateway_answers(cluster: Release, renderer: Renderer) -> None:
    for release, scheme in ((cluster, "HTTPS"), (renderer.render(VALUES["gateway"]), "HTTP")):
        container = release.container("gateway")
        (port,) = container["ports"]
        probe = container["readinessProbe"]["httpGet"]
        assert (probe["scheme"], probe["port"]) == (scheme, port["name"])
        assert allowed_call("GET", probe["path"].encode()).is_open
        # While no coordinator answers, it goes on.
        assert container["livenessProbe"]["tcpSocket"] == {"port": port["name"]}
        listens = {port["containerPort"]} | {rule["ports"][0]["port"] for rule in inward(release, "gateway")}
        assert listens == {int(release.plain_environment("gateway")["FARM_GATEWAY__PORT"])}


def test_addresses_of_callers_reach_it_since_its_limits_go_by_them(cluster: Release) -> None:
    service = cluster.one("Service", "gateway")["spec"]
    assert service["externalTrafficPolicy"] == "Local"
    assert service["ports"][0]["targetPort"] in {
        port["name"] for port in cluster.container("gateway")["ports"]
    }


def test_two_stand_on_different_hosts_and_are_evicted_one_by_one(
    cluster: Release, renderer: Renderer
) -> None:
    budget = cluster.one("PodDisruptionBudget", "gateway")["spec"]
    assert (budget["maxUnavailable"], cluster.one("Deployment", "gateway")["spec"]["replicas"]) == (1, 2)
    (spread,) = cluster.pods()["night-gateway"]["spec"]["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    # For one alone it would say nothing.
    names = [one["metadata"]["name"] for one in renderer.render(with_gateway()).kind("PodDisruptionBudget")]
    assert names == ["night-ingest"]


def test_without_one_nothing_of_it_is_there(renderer: Renderer) -> None:
    release = renderer.render(LEAST)
    assert "gateway" not in str(release.documents)
    assert not any(name.startswith("FARM_GATEWAY") for name in release.plain_environment("coordinator"))

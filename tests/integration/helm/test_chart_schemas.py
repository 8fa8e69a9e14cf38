"""Rendered objects against the schemas of Kubernetes, KEDA and the Prometheus operator, strictly.

No Kubernetes API server has admitted them.
"""

from __future__ import annotations

import copy
import re
from functools import cache
from itertools import product
from typing import Any

import pytest

from tests.integration.helm.pod_security import violations
from tests.integration.helm.rendering import VALUES, Document, Release, Renderer, helm_sdkpy
from tests.require import require_module

kubernetes_validate = require_module("kubernetes_validate", "pip install kubernetes-validate")


#: Kinds that are no part of Kubernetes.
MODELLED = ("ScaledObject", "ServiceMonitor", "PrometheusRule")


@cache
def models() -> dict[str, Any]:
    """Their classes, which take seconds to import."""
    keda = require_module("cloudcoil.models.keda.v1alpha1", "pip install cloudcoil-models-keda")
    operator = require_module(
        "cloudcoil.models.prometheus_operator.v1", "pip install cloudcoil-models-prometheus-operator"
    )
    return {kind: getattr(keda if kind == "ScaledObject" else operator, kind) for kind in MODELLED}


def check(document: Document, kubernetes: str) -> None:
    """Raises where the object has a field that does not exist, lacks one, or has one of another type."""
    model = models().get(document["kind"])
    if model is not None:
        read = model.model_validate(document)
        # Fields that it does not know are left out.
        assert read.model_dump(by_alias=True, exclude_unset=True, mode="json") == document
    elif document["kind"] == "HTTPRoute":
        check_route(document)
    else:
        kubernetes_validate.validate(document, kubernetes, strict=True)


def check_route(document: Document) -> None:
    """The part of the Gateway API that the chart uses; no package has its schema."""
    assert document["apiVersion"] == "gateway.networking.k8s.io/v1"
    spec = document["spec"]
    assert spec.keys() <= {"parentRefs", "hostnames", "rules"}
    assert all(parent.keys() <= {"name", "namespace", "sectionName"} for parent in spec["parentRefs"])
    for rule in spec["rules"]:
        assert rule.keys() <= {"backendRefs", "timeouts"}
        assert all(backend.keys() == {"name", "port"} for backend in rule["backendRefs"])
        assert rule["timeouts"].keys() <= {"request", "backendRequest"}


@pytest.mark.parametrize(
    ("name", "kubernetes"),
    [("least", "1.33"), ("gateway", "1.33"), *product(("trial", "cluster"), ("1.29", "1.33", "1.37"))],
)
def test_every_object_has_the_fields_of_its_kind_and_no_other(
    renderer: Renderer, name: str, kubernetes: str
) -> None:
    for document in renderer.render(VALUES[name]).documents:
        check(document, kubernetes)


def test_the_sets_of_values_render_every_kind(renderer: Renderer) -> None:
    kinds = {document["kind"] for values in VALUES.values() for document in renderer.render(values).documents}
    assert kinds == {
        "ConfigMap", "Deployment", "HTTPRoute", "Ingress", "Job", "NetworkPolicy", "PersistentVolumeClaim",
        "Pod", "PodDisruptionBudget", "PrometheusRule", "ScaledObject", "Secret", "Service", "ServiceAccount",
        "ServiceMonitor", "StatefulSet",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "Ingress", *MODELLED])
def test_a_field_that_does_not_exist_would_be_found(cluster: Release, kind: str) -> None:
    document = copy.deepcopy(cluster.kind(kind)[0])
    document["spec"]["replicaz"] = 1

    with pytest.raises((AssertionError, kubernetes_validate.ValidationError)):
        check(document, "1.33")


def test_a_number_where_keda_wants_text_would_be_found(cluster: Release) -> None:
    document = copy.deepcopy(cluster.kind("ScaledObject")[0])
    document["spec"]["triggers"][0]["metadata"]["threshold"] = 20

    with pytest.raises(ValueError, match="threshold"):
        check(document, "1.33")


@pytest.mark.parametrize("kubernetes", ["1.29", "1.37"])
def test_the_oldest_and_the_newest_kubernetes_get_the_same(renderer: Renderer, kubernetes: str) -> None:
    values = VALUES["gateway"]
    assert renderer.render(values, kubernetes).documents == renderer.render(values).documents


def test_a_kubernetes_that_is_too_old_is_refused(renderer: Renderer) -> None:
    with pytest.raises(helm_sdkpy.InstallError, match="kubeVersion"):
        renderer.render(VALUES["least"], "1.28")


def test_names_are_dns_labels_and_unique(release: Release) -> None:
    named = [(document["kind"], document["metadata"]["name"]) for document in release.documents]
    assert len(set(named)) == len(named)
    for _, name in named:
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name)


def test_pods_are_restricted_have_no_token_and_a_read_only_root(release: Release) -> None:
    for name, pod in release.pods().items():
        assert violations(pod["spec"]) == [], name
        assert pod["spec"]["automountServiceAccountToken"] is False
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}


def test_a_folder_of_the_host_is_not_restricted(renderer: Renderer) -> None:
    pools = {
        "old": {"vramClass": 8, "cache": {"hostPath": "/srv/cache"}, "models": {"hostPath": "/srv/models"}}
    }
    spec = renderer.render(VALUES["least"] | {"pools": pools}).pods()["night-node-old"]["spec"]

    assert violations(spec) == ["volume cache: hostPath", "volume models: hostPath"]


@pytest.mark.parametrize(
    ("where", "key", "value"),
    [
        ("pod", "hostNetwork", True),
        ("pod", "securityContext", {"runAsNonRoot": True}),
        ("container", "securityContext", {"allowPrivilegeEscalation": False}),
    ],
)
def test_what_is_not_restricted_would_be_found(cluster: Release, where: str, key: str, value: object) -> None:
    spec = copy.deepcopy(cluster.pods()["night-coordinator"]["spec"])
    (spec if where == "pod" else spec["containers"][0])[key] = value

    assert violations(spec)

"""The chart as Helm's own engine renders it: each set of values once for all tests of a worker."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.helm.kube_stub import kube_api
from tests.require import require_module

helm_sdkpy = require_module("helm_sdkpy", "pip install --ignore-requires-python helm-sdkpy==0.1.32")

CHART = Path(__file__).parents[3] / "helm"
#: Hooks are rendered as objects of their own: Helm would wait for jobs that nothing runs.
HOOK = "shotfarm.test/hook"

Values = dict[str, Any]
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Release:
    documents: list[Document]
    notes: str

    def kind(self, *kinds: str) -> list[Document]:
        return [document for document in self.documents if document["kind"] in kinds]

    def one(self, kind: str, name: str) -> Document:
        """The object `night-NAME`."""
        (found,) = [
            document for document in self.kind(kind) if document["metadata"]["name"] == f"night-{name}"
        ]
        return found

    def pods(self) -> dict[str, Document]:
        """Every pod template by the name of its owner, with labels and spec."""
        workloads = self.kind("Deployment", "StatefulSet", "Job")
        found = {document["metadata"]["name"]: document["spec"]["template"] for document in workloads}
        return found | {document["metadata"]["name"]: document for document in self.kind("Pod")}

    def containers(self) -> Iterator[tuple[str, Document]]:
        for name, pod in self.pods().items():
            for container in pod["spec"]["containers"]:
                yield name, container

    def container(self, name: str) -> Document:
        (found,) = self.pods()[f"night-{name}"]["spec"]["containers"]
        return dict(found)

    def plain_environment(self, name: str) -> dict[str, str]:
        """The variables of a pod that are no secrets."""
        entries = self.container(name)["env"]
        return {entry["name"]: entry["value"] for entry in entries if "value" in entry}


@dataclass
class Renderer:
    folder: Path
    _stack: ExitStack = field(default_factory=ExitStack)
    _clusters: dict[str, Path] = field(default_factory=dict)
    _releases: dict[str, Release] = field(default_factory=dict)

    @cached_property
    def chart(self) -> Path:
        chart = self.folder / "chart"
        shutil.copytree(CHART, chart)
        for template in (chart / "templates").iterdir():
            template.write_text(template.read_text().replace("helm.sh/hook", HOOK))
        return chart

    def render(self, values: Values, kubernetes: str = "1.33") -> Release:
        """Raises helm_sdkpy.InstallError with what Helm refuses."""
        key = kubernetes + json.dumps(values, sort_keys=True)
        if key not in self._releases:
            if kubernetes not in self._clusters:
                self._clusters[kubernetes] = self._stack.enter_context(kube_api(self.folder, kubernetes))
            self._releases[key] = self._install(values, self._clusters[kubernetes])
        return self._releases[key]

    def render_over(self, kept: Document, values: Values) -> Release:
        """The same in a cluster that has a Secret of an earlier release."""
        with kube_api(self.folder, "1.33", kept) as cluster:
            return self._install(values, cluster)

    def _install(self, values: Values, cluster: Path) -> Release:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HELM_DRIVER", "memory")
            install = helm_sdkpy.Install(helm_sdkpy.Configuration(kubeconfig=str(cluster)))
            release = asyncio.run(install.run("night", str(self.chart), values=values, wait=False))
        documents = [document for document in yaml.safe_load_all(release["manifest"]) if document]
        return Release(documents, release.get("info", {}).get("notes", ""))

    def close(self) -> None:
        self._stack.close()


def example(name: str) -> Values:
    """Values that the chart shows."""
    values: Values = yaml.safe_load((CHART / "examples" / f"{name}.yaml").read_text())
    return values


#: As few as possible, a trial, everything, and what the others leave out.
VALUES: dict[str, Values] = {
    "least": {"existingSecret": "farm-secrets"},
    "trial": example("trial"),
    "cluster": example("cluster"),
    "gateway": {
        "existingSecret": "farm-secrets",
        "httpRoute": {
            "enabled": True,
            "host": "farm.example",
            "parentRefs": [{"name": "gateway", "namespace": "gateways", "sectionName": "https"}],
        },
        # That of nodes elsewhere, behind an Ingress.
        "gateway": {
            "enabled": True,
            "relay": False,
            "ingress": {"enabled": True, "host": "nodes.farm.example", "tlsSecret": "nodes-tls"},
        },
        "networkPolicy": {
            "clients": [{"namespaceSelector": {}}],
            "gateway": {"from": [{"podSelector": {"matchLabels": {"app": "ingress-nginx"}}}]},
        },
        "pools": {
            "a100": {"vramClass": 32, "gpuResource": "nvidia.com/mig-3g.40gb", "priorityClassName": "low"}
        },
    },
}
